"""Video -> .nerv360 file -> pictures."""
