"""Parse what picture files hold, for the codecs and for the independent audit of outputs.

Knows signatures, directories, profiles and boxes.
Does not write pictures.
"""
