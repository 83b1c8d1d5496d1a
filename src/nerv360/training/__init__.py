"""Encoding is training: fit a model to a clip."""
