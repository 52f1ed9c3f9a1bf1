"""What answers `rpc.v1.tenants.*`."""

from typing import Final

SERVICE: Final = "tenants"
