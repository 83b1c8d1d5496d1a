"""Fast drawing: one file per backend behind one interface (runner.py)."""
