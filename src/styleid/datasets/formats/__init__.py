"""One folder per data-set layout: which file is what, and how its annotations are read and rewritten.

Knows COCO, YOLO and Pascal VOC.
Does not know how photos are anonymised or copied.
"""
