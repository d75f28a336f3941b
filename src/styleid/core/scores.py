"""Names of the scores by which units of W+ can be chosen."""

SCORES = ("difference", "ratio", "d_id", "leak")
"""The first is the default. A higher value means that a unit is better to swap; docs/rankings.md defines the scores."""
