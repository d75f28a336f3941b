"""Find faces, align them, and measure pose and expression from their landmarks, in photos and along tracks.

Contains the detectors' networks. Bundles, files, and the replacement of faces are handled by other packages.
"""
