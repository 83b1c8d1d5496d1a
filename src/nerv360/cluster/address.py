"""Whether there is a cluster, before any work is done for it. No PyTorch in here, and no Ray."""

import socket
from importlib.util import find_spec

from nerv360.errors import ClusterError, MissingExtra

__all__ = ["check_ray"]

CONNECT_SECONDS = 5.0


def check_ray(address: str | None) -> None:
    """Raises MissingExtra without Ray; ClusterError where the address is none, or nobody answers there.

    Ray itself waits long for a cluster that is not there.
    """
    if find_spec("ray") is None:
        raise MissingExtra("--workers and --ray need Ray: pip install 'nerv360[cluster]'")
    if address in (None, "auto"):
        return
    host, colon, port = address.rpartition(":")
    if "://" in address or not (colon and host and port.isdecimal() and int(port) < 1 << 16):
        raise ClusterError(f"--ray {address}: must be HOST:PORT of the cluster's head, or auto")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ClusterError(f"--ray {address}: no cluster answers there ({reason}); start one first") from None
