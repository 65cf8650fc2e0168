"""Processes that misbehave on purpose; they stand in for ours in the campaign and nowhere else."""
