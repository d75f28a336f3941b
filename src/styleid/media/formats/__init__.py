"""Picture formats, one module each: decode a file's bytes, and encode new pixels with the coding of the source.

The modules work on bytes in memory; they do not handle file names, storage or videos.
"""
