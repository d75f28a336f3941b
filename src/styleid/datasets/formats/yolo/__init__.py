"""YOLO: text files of labels beside photos, a data.yaml and lists of files.

`layout.py` says what each file is; `labels.py` and `data_yaml.py` read and rewrite the texts.
Does not know other layouts.
"""
