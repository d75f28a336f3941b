"""Define, train and export the networks of bundles (`pip install styleid[lab]`); the runtime imports none of it."""
