"""Rank units of a bundle's latent space by how much identity, and how little else, they change.

docs/rankings.md explains the method and the scores.
"""
