"""Conversion of the public StyleID release's files to a bundle.

Knows: the files, their tensor names, and how the built-in networks replace files that are not given.
Does not know: how networks are trained.
"""
