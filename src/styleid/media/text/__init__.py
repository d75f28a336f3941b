"""Find pictures in text files: encoded bytes, picture formats written as text, and pixels written as numbers."""

from styleid.media.text.search import find_picture, plain_text

__all__ = ["find_picture", "plain_text"]
