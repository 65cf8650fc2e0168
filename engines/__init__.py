"""Engines: one tensor graph on one backend, and the bundle that holds the graphs."""
