"""Anonymise videos.

All faces are found and followed first. Each person gets one target for the whole clip; then every frame is rendered and
checked. Live pictures are processed as they arrive. `styleid.media.video` reads and writes the files.
"""
