"""Read and write photos and videos: picture formats, containers, codecs, metadata and storage.

Metadata is written from an allow-list. Nothing in this package depends on faces.
"""
