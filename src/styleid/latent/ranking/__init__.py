"""Rank units of a bundle's latent space by how much identity, and how little else, they change."""
