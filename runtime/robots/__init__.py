"""Robots: limits, geometry and drivers, by name."""
