"""The review desk: a service on this machine, and its page, for people who never open a terminal.

Knows HTTP, jobs and who is signed in.
Does not know how a photo or video is anonymised: the engine and `video` do the work.
"""
