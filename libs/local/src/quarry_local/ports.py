"""TCP ports on loopback: which are free, and who holds one."""

import socket

import psutil

from quarry_local.errors import PortInUseError

LOOPBACK = "127.0.0.1"


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose old connections linger in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(preferred: int = 0) -> int:
    """Return `preferred` when it is free, else any free port of loopback.

    The port is free at this moment only; whoever listens on it next may still find it taken.
    """
    if preferred and is_free(preferred):
        return preferred
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def holder(port: int) -> str:
    """Return who listens on `port`, as far as this user may know: `nginx (pid 12)` or an empty string."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return ""
    for connection in connections:
        if connection.status != psutil.CONN_LISTEN or connection.laddr[1:] != (port,) or not connection.pid:
            continue
        try:
            return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
        except psutil.NoSuchProcess:
            return ""
    return ""


def require_free(port: int, *, advice: str) -> None:
    """Raise `PortInUseError`, with who holds it if known, unless `port` is free."""
    if is_free(port):
        return
    by = holder(port)
    raise PortInUseError(f"Port {port} is in use{f' by {by}' if by else ''}.", advice=advice)
