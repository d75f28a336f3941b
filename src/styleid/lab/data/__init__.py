"""Training data: packs of aligned faces, augmented views of them, and teacher networks.

Knows: images, labels and landmarks, and third-party networks that label them.
Does not know: our own networks and their training.
"""
