"""Experiments: the paper's tables and figures, and the speed of networks and files."""
