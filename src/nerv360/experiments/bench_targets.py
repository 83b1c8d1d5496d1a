"""Names of the ways to a view that `nerv360 bench` measures beside the backends (playback.py). No torch in here."""

__all__ = ["CONVENTIONAL", "PLAIN", "QUANTISED"]

QUANTISED = "int8"  # openvino with that precision
PLAIN = "plain"
CONVENTIONAL = "libx265"
