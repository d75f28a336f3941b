"""Anonymise moving pictures: find and follow everybody, then render, one person one target."""
