"""Attacks on anonymised faces: functions from arrays of embeddings to sums that can be added up.

Convention
----------
Embeddings are unit vectors, float32 (n, d); all arrays have the same faces in the same rows. A row of NaN is a face
that was withheld: it matches nothing, and every count includes it. `lost`, bool (n,), marks faces that were published
but could not be measured: every attack counts them as found.
"""
