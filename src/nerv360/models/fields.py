"""Types of the fields of settings and headers, with their ranges: declared once, checked wherever a value is given."""

from collections.abc import Iterator
from functools import cache
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct

from nerv360.errors import ArgumentError

__all__ = [
    "CONDITIONS",
    "LAST_BLOCKS",
    "MAX_STAGES",
    "Condition",
    "EmbeddingChannels",
    "GroupSize",
    "Kernels",
    "LastBlock",
    "LateBlocks",
    "Strides",
    "Widths",
    "check_fields",
]

MAX_STAGES = 8
CONDITIONS = ("yaw", "pitch", "roll", "fov")
LAST_BLOCKS = ("full", "half", "none")

Strides = Annotated[tuple[Annotated[int, Meta(ge=1, le=16)], ...], Meta(min_length=1, max_length=MAX_STAGES)]
Widths = Annotated[tuple[Annotated[int, Meta(ge=1, le=4096)], ...], Meta(min_length=2, max_length=MAX_STAGES + 1)]
Kernels = Annotated[tuple[Annotated[int, Meta(ge=1, le=7)], ...], Meta(min_length=1, max_length=MAX_STAGES)]
EmbeddingChannels = Annotated[int, Meta(ge=1, le=256)]
GroupSize = Annotated[int, Meta(ge=1, le=64)]
LastBlock = Annotated[str, Meta(pattern=rf"^({'|'.join(LAST_BLOCKS)})\Z")]
LateBlocks = Annotated[int, Meta(ge=1, le=4)]
Condition = Annotated[str, Meta(pattern=rf"^({'|'.join(CONDITIONS)})\Z")]


def check_fields(instance: Any) -> None:
    """Raise ArgumentError where a field of a dataclass or struct, or an item in it, is outside of its range."""
    kind: Any = type(instance)
    for name, hint in _hints(kind).items():
        for message in _violations(name, getattr(instance, name), hint):
            raise ArgumentError(message)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """Types of the fields of a class, with their annotations."""
    return get_type_hints(kind, include_extras=True)


def _violations(name: str, value: Any, hint: Any) -> Iterator[str]:
    if value is None:
        return
    if get_origin(hint) is Annotated:
        inner, *metas = get_args(hint)
        for meta in metas:
            yield from _outside(name, value, meta)
        yield from _violations(name, value, inner)
    elif get_origin(hint) is tuple:
        items = get_args(hint)
        for item in value:
            yield from _violations(name, item, items[0])
    elif isinstance(value, Struct):
        struct: Any = type(value)
        for field, each in _hints(struct).items():
            yield from _violations(f"{name}: {field}", getattr(value, field), each)
    elif options := [each for each in get_args(hint) if each is not NoneType]:
        yield from _violations(name, value, options[0])


def _outside(name: str, value: Any, meta: Meta) -> Iterator[str]:
    if meta.ge is not None and meta.le is not None and not meta.ge <= value <= meta.le:
        yield f"{name}={value}: must be in {meta.ge:g}..{meta.le:g}"
    if meta.pattern is not None and value not in (choices := _choices(meta.pattern)):
        yield f"{name}={value!r}: must be one of {', '.join(choices)}"
    if meta.max_length is not None and not (meta.min_length or 0) <= len(value) <= meta.max_length:
        yield f"{name}={value}: must have {meta.min_length or 0} to {meta.max_length} values"


def _choices(pattern: str) -> list[str]:
    """The words of a pattern ^(a|b|c)\\Z."""
    return pattern.removeprefix("^(").removesuffix(r")\Z").split("|")
