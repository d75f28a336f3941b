"""Work on pixels: face regions, warps, compositing, glasses, and obscuring.

Knows crops, masks and landmarks.
Does not know networks or identities.
"""
