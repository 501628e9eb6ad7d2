"""Training scenes with models of real furniture, rendered with OpenGL."""
