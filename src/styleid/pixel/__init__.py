"""Work on pixels: regions, warps, composites, obscuring."""
