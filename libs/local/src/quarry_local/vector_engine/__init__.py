"""One machine's vector index: the qdrant-edge library behind the part of Qdrant's REST API that Quarry uses.

`python -m quarry_local.vector_engine --path DIR --port N` serves it; `docs/vector-engine.md` says what it
supports. Services talk to it with the official `qdrant-client`, as they talk to a Qdrant server.
"""
