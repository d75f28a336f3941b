"""Names of the scores by which units of W+ can be chosen."""

SCORES = ("difference", "ratio", "d_id", "leak")
"""The first is the default. In each, a higher value means that swapping the unit pays more."""
