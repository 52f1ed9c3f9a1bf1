"""What every Quarry service shares."""
