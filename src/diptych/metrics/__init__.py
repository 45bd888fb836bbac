"""Measures of agreement and of quality, one family a file."""
