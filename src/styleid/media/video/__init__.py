"""Read and write videos and folders of frames, with their times, colours and side tracks (extra `video`).

Knows PyAV.
Does not know faces or tracks of faces.
"""
