"""Network architectures, one file each, with configs that reject impossible sizes.

Knows: layers, shapes and weight names. `irse`, `mobilenet`, `unet` and `mapper` are those of the StyleID release.
Does not know: losses, optimisers, checkpoints, ONNX.
"""
