"""Every test may use the servers of `quarry_local.testing`."""

import os

# Tests receive spans over gRPC and start programs. With its support of forks, gRPC restarts its threads in a
# program's process before that is executed, and now and then aborts it there. Read when gRPC is imported.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

pytest_plugins = ["quarry_local.testing"]
