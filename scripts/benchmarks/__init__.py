"""What scripts/bench measures, and what it needs for that."""
