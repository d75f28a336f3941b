"""Commands: each turns options into calls of the library and reports the result on the terminal.

Knows options and messages.
Holds no logic of its own.
"""
