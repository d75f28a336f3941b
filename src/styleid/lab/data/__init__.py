"""What trainings learn from: data packs of aligned faces, views cut and varied from them, and teachers.

Knows images, labels and landmarks, and the networks of others that label them.
Does not know our own networks, nor how they are trained.
"""
