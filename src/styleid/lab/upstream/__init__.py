"""From the files of the public StyleID release to a bundle.

Knows the files, their tensors by name, and how the built-in networks stand in for those not given.
Does not know how networks are trained.
"""
