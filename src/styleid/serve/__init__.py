"""The review desk: an HTTP service with a web page for people who do not use a terminal.

This package handles HTTP, jobs, decisions and users. `styleid.engine` and `styleid.video` anonymise the files.
"""
