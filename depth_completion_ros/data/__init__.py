"""Recordings and data sets as iterators of frames."""
