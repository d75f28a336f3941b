"""Attack anonymised faces, and measure what the photos are still useful for, for the output of any tool.

This package has recognisers, attacks and utility measures. It does not use how a face was anonymised.
"""
