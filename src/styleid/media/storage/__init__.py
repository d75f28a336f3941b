"""Find input files and write output files whole or not at all, on this machine and at URLs.

Knows folders, temporary names and fsspec.
Does not know what files hold, but for their kind.
"""
