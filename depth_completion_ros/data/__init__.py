"""Recordings, data sets, scenes and sensor models, as iterators of frames."""
