"""The way out: deliveries reach public addresses and what the operator allows, and nothing else."""
