"""Organizations and API keys: who may use this installation, and as whom."""
