"""Read and write photos and videos: pixels as stored, metadata by allow-list, files here and at URLs.

Knows formats, containers, codecs and storage.
Does not know faces.
"""
