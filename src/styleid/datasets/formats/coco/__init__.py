"""COCO: JSON files of annotations beside folders of photos.

`layout.py` says what each file is; `json_file.py` and `json_text.py` read and rewrite the JSON.
Does not know other layouts.
"""
