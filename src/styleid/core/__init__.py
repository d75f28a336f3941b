"""The way of one face through its photo: measure, choose a target, swap, composite, judge, or obscure.

Knows bundles, privacy levels, methods, targets, the gate and the pipeline.
Does not know files, nor who a person is across photos.
"""
