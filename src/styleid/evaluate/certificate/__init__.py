"""Certificates of finished runs: what an attacker finds, what people saw, signed together with the files' hashes.

Knows the journals of runs and the attacks of `styleid.evaluate`.
Does not know how a face is anonymised.
"""
