"""Serve the anonymiser over HTTP."""
