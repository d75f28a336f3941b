"""Operations on pixels: face regions, warps, compositing, glasses, and obscuring.

They work on crops, masks and landmarks, without networks.
"""
