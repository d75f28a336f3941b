"""Photos in and out: pixels kept as they were stored, metadata kept by allow-list only."""
