"""One module per picture format: decode its bytes and encode them again in kind.

Knows how each format stores pixels, profiles and quality.
Does not know file names, storage or videos.
"""
