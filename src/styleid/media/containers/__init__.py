"""Cut picture files into their parts: segments, chunks, blocks and boxes.

Knows how files are structured; every walker checks lengths before it trusts them.
Does not know pixels. Offsets count bytes from the start of the file.
"""
