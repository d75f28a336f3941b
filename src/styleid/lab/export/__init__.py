"""Export from torch to a bundle's ONNX files: float16 weights, 8-bit convolutions, comparison with torch.

Knows: how a network is written, quantised and compared.
Does not know: how it was trained, and what else a bundle holds.
"""
