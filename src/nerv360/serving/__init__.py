"""The player: its page, as a static site or from a server that also decodes."""
