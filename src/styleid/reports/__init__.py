"""HTML reports: one template for each page, one stylesheet, and helpers for the pictures and plots on them.

A page is one file that needs no network and no other file, apart from the pictures of the audit and review pages, which
lie beside them. It follows the reader's light or dark setting.
"""
