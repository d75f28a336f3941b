"""Tests of styleid.media."""
