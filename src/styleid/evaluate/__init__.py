"""Attack anonymised faces, and measure what they are still good for.

Knows recognisers, attackers and utility measures, for any tool's output.
Does not know how a face was anonymised.
"""
