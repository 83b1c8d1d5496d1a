"""nerv360: neural compression of 360-degree video that decodes only what the viewer sees.

Encode a video, and look to the right in its first frame:

    import nerv360
    nerv360.encode("video.mp4", "video.nerv360")
    with nerv360.open("video.nerv360") as decoder:
        picture = decoder.viewport(0, nerv360.Viewport(yaw_deg=90, width=1280, height=720))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nerv360.config import EncodingConfig, preset
from nerv360.errors import (
    ArgumentError,
    BitstreamError,
    Nerv360Error,
    OutputError,
    TrainingError,
    VersionError,
    VideoError,
)
from nerv360.geometry.viewport import Viewport
from nerv360.threads import set_defaults

if TYPE_CHECKING:
    from nerv360.api import decode, encode, eval_file, open
    from nerv360.codec.decoder import Decoder
    from nerv360.extract import extract_viewport
    from nerv360.video.clip import Clip
    from nerv360.video.reading import Layout

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "BitstreamError",
    "Clip",
    "Decoder",
    "EncodingConfig",
    "Layout",
    "Nerv360Error",
    "OutputError",
    "TrainingError",
    "VersionError",
    "VideoError",
    "Viewport",
    "decode",
    "encode",
    "eval_file",
    "extract_viewport",
    "open",
    "preset",
]

# Names that need PyTorch load it on first use: it takes seconds, and bad input is answered before.
_LAZY = {
    "Clip": "nerv360.video.clip",
    "Decoder": "nerv360.codec.decoder",
    "Layout": "nerv360.video.reading",
    "decode": "nerv360.api",
    "encode": "nerv360.api",
    "eval_file": "nerv360.api",
    "extract_viewport": "nerv360.extract",
    "open": "nerv360.api",
}


set_defaults()


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'nerv360' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
