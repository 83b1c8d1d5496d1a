"""Clips as keys that predict one another along motion, with a residual of wavelets."""
