"""Certificates of finished runs: what attackers find, what people saw, and the hashes of the files, signed.

This package reads the journals of runs and uses the attacks of `styleid.evaluate`. It does not use how a face was
anonymised.
"""
