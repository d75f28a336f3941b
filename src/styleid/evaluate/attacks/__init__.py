"""Attacks on anonymised faces: functions from arrays of embeddings to sums that merge.

Convention
----------
Embeddings are float32 (n, d), row by row the same faces, of unit length. A row of NaN is a face that is not there (it
was withheld): it matches nothing and stays in every count. `lost`, bool (n,), marks faces that could not be measured
although they were published: they count as found, whatever is attacked.
"""
