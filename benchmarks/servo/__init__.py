"""Jitter of the servo loop, beside a bare C loop."""
