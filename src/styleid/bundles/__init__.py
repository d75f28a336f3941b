"""Bundles: folders of networks with a description, built-in or the user's own."""
