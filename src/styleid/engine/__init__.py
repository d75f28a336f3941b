"""Run the pipeline over many files: inputs, workers, journal, resume, and the report.

This package handles files, processes and Ray. How a face is anonymised is the business of `core`.
"""
