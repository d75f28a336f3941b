"""Read and write image data sets with their labels."""
