"""Every error that nerv360 raises on purpose.

    Nerv360Error
    ├── ArgumentError     a value given by the caller is out of range (also a ValueError)
    │   └── NoSuchDecoder no decoder has the size that is asked for
    ├── VideoError        the input is missing, empty, not a video, or not one that can be used
    ├── BitstreamError    the .nerv360 file is damaged, foreign, or claims what cannot be
    │   └── VersionError  the file was written by a newer nerv360
    ├── OutputError       the output cannot be written
    ├── OutOfMemory       the work does not fit the memory of this machine
    ├── DeviceError       a GPU has failed in the middle of work
    ├── ClusterError      the cluster cannot be reached, or its workers are not fit for the work
    ├── MissingExtra      an optional package that is needed is not installed
    └── TrainingError     fitting failed and could not be recovered

Each message is one line that names the value, what was wrong with it, and what to do.
"""

__all__ = [
    "ArgumentError",
    "BitstreamError",
    "ClusterError",
    "DeviceError",
    "MissingExtra",
    "Nerv360Error",
    "NoSuchDecoder",
    "OutOfMemory",
    "OutputError",
    "TrainingError",
    "VersionError",
    "VideoError",
]


class Nerv360Error(Exception):
    """Base of all errors of this package."""


class ArgumentError(Nerv360Error, ValueError):
    """A value given by the caller is out of range."""


class NoSuchDecoder(ArgumentError):
    """No widths give a decoder of the size that is asked for; `nearest` can be had."""

    def __init__(self, message: str, nearest: int) -> None:
        super().__init__(message)
        self.nearest = nearest

    def __reduce__(self) -> tuple[type["NoSuchDecoder"], tuple[str, int]]:
        return type(self), (str(self), self.nearest)


class VideoError(Nerv360Error):
    """The input video is missing, unreadable, or of a kind that cannot be used."""


class BitstreamError(Nerv360Error):
    """The .nerv360 file is damaged, foreign, or makes impossible claims."""


class VersionError(BitstreamError):
    """The .nerv360 file was written in a newer version of the format."""


class OutputError(Nerv360Error):
    """The output file or folder cannot be written."""


class OutOfMemory(Nerv360Error):
    """The work does not fit the memory of this machine."""


class DeviceError(Nerv360Error):
    """A GPU has failed in the middle of work."""


class ClusterError(Nerv360Error):
    """The cluster cannot be reached, or its workers are not fit for the work."""


class MissingExtra(Nerv360Error):
    """An optional package that is needed is not installed."""


class TrainingError(Nerv360Error):
    """Fitting failed and could not be recovered."""
