"""Trainings: each a `Task` of the run contract (`loop`), with its losses, data and figures.

Knows networks, optimisers, schedules and checkpoints.
Does not know bundles, nor the command line.
"""
