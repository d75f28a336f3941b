"""Attack anonymised faces, and measure what they are still good for."""
