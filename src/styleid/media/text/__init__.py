"""Find pictures that are written as text: encoded bytes, picture formats made of text, and pixels as numbers."""

from styleid.media.text.search import find_picture, plain_text

__all__ = ["find_picture", "plain_text"]
