"""Join what was trained into a bundle, and take the networks of a bundle up again.

Knows the bank of targets, the order of export, measured figures and bundle.json of `aam128`.
Does not know losses, nor how a photo is anonymised but through the public pipeline.
"""
