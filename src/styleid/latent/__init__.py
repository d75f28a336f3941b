"""Choose targets and swap rows of W+."""
