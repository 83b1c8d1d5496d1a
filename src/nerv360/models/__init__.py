"""The networks. Read nerv360.py first, top to bottom."""
