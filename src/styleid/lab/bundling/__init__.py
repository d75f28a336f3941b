"""Assembly of bundles from trained networks, and the reverse: checkpoints from the networks of a bundle.

Knows: the target bank, the order of export, measured figures and bundle.json.
Does not know: losses. It anonymises photos only through the public pipeline.
"""
