"""Process the faces of one photo: measure, choose a target, swap, composite, check, or obscure.

Contains privacy levels, methods, targets, the gate and the pipeline. Files, and people across photos, are handled by
other packages.
"""
