"""Carry data sets through: photos anonymised by the engine, annotations and label maps kept in step.

Knows layouts and annotation formats.
Does not know how a face is anonymised.
"""
