"""Commands: each turns options into calls of the library and says on the terminal what came of it."""
