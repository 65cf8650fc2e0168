"""Cameras: frames with a capture time on the host's monotonic clock, shared between processes."""
