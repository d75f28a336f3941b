"""Anonymise videos: find and follow everybody, give each person one target, render and check every frame.

Knows clips, tracks and the pipeline's stages.
Does not know codecs.
"""
