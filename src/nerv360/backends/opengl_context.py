"""What computes OpenGL here, without a window. No torch in here."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import moderngl

from nerv360.errors import ArgumentError

__all__ = ["OTHERWISE", "Adapter", "adapter", "create_context", "release_context"]

SOFTWARE = ("llvmpipe", "softpipe", "swiftshader", "software", "basic render")
OTHERWISE = "take another backend"


@dataclass(frozen=True)
class Adapter:
    """A driver of OpenGL."""

    name: str
    max_side: int  # of a texture

    @property
    def software(self) -> bool:
        """Whether it computes on the processor."""
        return any(word in self.name.lower() for word in SOFTWARE)


def adapter(width: int) -> Adapter:
    """What draws panoramas so wide. Raises ArgumentError where nothing does."""
    found = _adapter()
    if found.max_side < width:
        raise ArgumentError(
            f"backend=opengl: {found.name} draws panoramas of up to {found.max_side} pixels across, this one has "
            f"{width}; {OTHERWISE}"
        )
    return found


@cache
def _adapter() -> Adapter:
    def look() -> Adapter:
        context = create_context()
        info = context.info
        release_context(context)
        return Adapter(info["GL_RENDERER"], info["GL_MAX_TEXTURE_SIZE"])

    with ThreadPoolExecutor(1) as thread:  # the caller's own context stays that of its thread
        return thread.submit(look).result()


def create_context() -> moderngl.Context:
    """A context, current on this thread. Raises ArgumentError where there is none."""
    settings: dict[str, Any] = {"backend": "egl"} if sys.platform == "linux" else {}
    try:
        return moderngl.create_context(require=330, standalone=True, **settings)
    except Exception as error:  # moderngl raises nothing more special
        raise ArgumentError(
            f"backend=opengl: there is no OpenGL 3.3 here ({error}); install a driver (Debian: libegl1, libgl1, "
            f"libgl1-mesa-dri), or {OTHERWISE}"
        ) from None


def release_context(context: moderngl.Context) -> None:
    """Give back the context of this thread."""
    with context:
        pass  # the driver keeps one that is current
    context.release()
