"""Networks, each in one file to be read from top to bottom, with a config that rejects impossible sizes.

Knows shapes, weights and their names; `irse`, `mobilenet`, `unet` and `mapper` are those of the StyleID release.
Does not know losses, optimisers, checkpoints or ONNX.
"""
