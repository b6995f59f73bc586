"""Measurements for people to read; no test depends on them."""
