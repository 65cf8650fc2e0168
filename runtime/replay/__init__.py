"""Replay: a recorded run through the very classes that made it, exactly or with other settings."""
