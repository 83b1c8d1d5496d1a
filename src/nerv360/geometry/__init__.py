"""Pure tensor functions on the sphere; they know nothing of models or files."""
