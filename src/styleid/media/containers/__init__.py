"""Split picture files into segments, chunks, blocks and boxes, without decoding pixels.

All parsers check lengths against the data before they use them. Offsets count bytes from the start of the file.
"""
