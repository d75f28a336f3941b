"""Pascal VOC: an XML file per photo, and label maps.

`layout.py` finds the role of each file; `xml_file.py` reads and rewrites the XML.
"""
