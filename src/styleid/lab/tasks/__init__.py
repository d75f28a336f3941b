"""Training tasks: each module implements `loop.Task` for one network, with its losses, data and figures.

Knows: networks, optimisers, schedules, checkpoints.
Does not know: bundles and the command line.
"""
