"""Engines: run the pipeline over many files, keep the journal, resume, report."""
