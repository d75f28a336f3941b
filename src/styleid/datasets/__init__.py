"""Data sets in, the same out: photos anonymised, every annotation carried through."""
