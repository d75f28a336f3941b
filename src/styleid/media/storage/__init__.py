"""Find input files and write output files atomically, on this machine and at fsspec URLs."""
