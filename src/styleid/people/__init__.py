"""Know people across photos: link their faces, keep some, and give each one the same target.

Knows linking, pseudonyms, groups, the allow-list, key files and people files.
Does not know runs over many files.
"""
