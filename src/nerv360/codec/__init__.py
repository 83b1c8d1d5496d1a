"""Fitted model <-> .nerv360 file."""
