"""Every test may use the servers of `quarry_local.testing`."""

import os

from hypothesis import HealthCheck, settings

# Tests receive spans over gRPC and start programs. With its support of forks, gRPC restarts its threads in a
# program's process before that is executed, and now and then aborts it there. Read when gRPC is imported.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

# How fast examples are made and tried says something of the machine, and nothing of the code.
settings.register_profile("any machine", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("any machine")

pytest_plugins = ["quarry_local.testing"]
