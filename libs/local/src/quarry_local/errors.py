"""What can go wrong on one machine: one sentence says what is wrong, one says what to do."""

from quarry_common.errors import QuarryError


class LocalError(QuarryError):
    """The platform on this machine cannot do what was asked."""

    code = "local_platform"
    title = "The platform on this machine cannot start"
    advice = "Run `quarry doctor`; it checks this machine and tells what to do."


class MissingProgramError(LocalError):
    """A server's program is not installed and cannot be installed from here."""

    code = "program_missing"
    title = "A server's program is missing"


class PortInUseError(LocalError):
    """Another process listens on the port."""

    code = "port_in_use"
    title = "A port is in use"


class StartError(LocalError):
    """A process ended, or did not become ready, while it was started."""

    code = "start_failed"
    title = "A process did not start"
