"""Parsers of picture files, used by the codecs and by the independent audit of outputs. They write no pictures."""
