"""Scenes of real furniture, rendered with OpenGL: the source of training scenes."""
