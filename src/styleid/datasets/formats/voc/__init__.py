"""Pascal VOC: an XML file per photo, and label maps.

`layout.py` says what each file is; `xml_file.py` reads and rewrites the XML.
Does not know other layouts.
"""
