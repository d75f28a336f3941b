"""Read a bundle's description and run its networks, each checked against its hash.

Knows `bundle.json` and ONNX networks.
Does not know photos, pixels outside crops, or torch.
"""
