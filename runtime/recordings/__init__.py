"""Recorded inputs: LeRobot datasets, films and run folders, read back."""
