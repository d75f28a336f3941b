"""Commands: each calls one function of the library and prints its result.

Options and messages are handled here. There is no other logic: programs call the same functions.
"""
