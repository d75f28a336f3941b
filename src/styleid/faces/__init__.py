"""Find faces, align them and read pose and expression off their landmarks, in photos and along tracks.

Knows images, landmarks and the detector's network.
Does not know bundles, files or how a face is replaced.
"""
