"""From torch to the ONNX files of a bundle: float16 weights, 8-bit convolutions, and the proof that they agree.

Knows how a network is written, rounded and compared.
Does not know how it was trained, nor what else a bundle holds.
"""
