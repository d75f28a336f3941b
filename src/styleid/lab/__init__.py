"""Train networks and write bundles (extra `lab`, torch).

Knows training data, networks, tasks, export and the public StyleID release.
Is loaded only by commands that train or build.
"""
