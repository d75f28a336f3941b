"""Run the pipeline over many files: inputs, workers, journal, resume, and the page of results.

Knows files, processes and Ray.
Does not know how a face is anonymised.
"""
