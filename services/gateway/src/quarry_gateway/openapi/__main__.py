"""`python -m quarry_gateway.openapi` prints the API's description."""

import json
import sys

import msgspec

from quarry_gateway.openapi import describe
from quarry_gateway.routes import HANDLERS
from quarry_gateway.routes.system import VERSION

description = msgspec.to_builtins(describe(HANDLERS, VERSION))
sys.stdout.write(json.dumps(description, indent=2, ensure_ascii=False) + "\n")
