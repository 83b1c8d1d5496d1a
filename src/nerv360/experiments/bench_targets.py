"""What `nerv360 bench` measures beside the backends (playback.py). No torch in here."""

__all__ = ["DECODE_THEN_CROP", "PLAIN", "QUANTISED"]

QUANTISED = "int8"  # openvino with that precision
PLAIN = "plain"
DECODE_THEN_CROP = "libx265"
