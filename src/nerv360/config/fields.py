"""Fields of settings: a default and a help text."""

from dataclasses import field
from typing import Any

__all__ = ["setting"]


def setting(default: Any, help: str) -> Any:
    """A field with a help text, which the command line shows."""
    return field(default=default, metadata={"help": help})
