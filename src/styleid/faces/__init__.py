"""Find, align and describe faces."""
