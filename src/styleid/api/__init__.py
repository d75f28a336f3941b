"""One function for each command: what `styleid` offers for whole files, data sets and videos.

Each function takes what its command takes, prints nothing, and returns what was done. `import styleid` exports them.
"""
