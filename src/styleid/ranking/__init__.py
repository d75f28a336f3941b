"""Rank units of a bundle's latent space by how much identity, and how little else, they change.

Knows units of W+ and S, scores, and the pictures of a ranking.
Does not know how a run anonymises files.
"""
