"""Read a bundle's description and run its networks.

A bundle is a folder with `bundle.json` and ONNX networks; each file is checked against its hash before it is used. The
networks see crops only; torch is not needed.
"""
