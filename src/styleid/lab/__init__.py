"""Network training and bundle building (extra `lab`, needs torch).

Knows: training data, networks, training tasks, export, the public StyleID release.
Loaded only by the commands that train networks or build bundles.
"""
