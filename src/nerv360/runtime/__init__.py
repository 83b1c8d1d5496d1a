"""Fast drawing: one file per backend behind one interface (base.py)."""
