"""The command line: one file per command."""

from nerv360.cli.app import main

__all__ = ["main"]
