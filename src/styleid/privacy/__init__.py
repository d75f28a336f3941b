"""Decide whether a face is private enough."""
