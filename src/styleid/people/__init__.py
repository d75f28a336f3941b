"""People across photos: link their faces, keep some of them as they are, and give each person the same target.

Contains linking, pseudonyms, groups, the people to keep, key files and people files.
"""
