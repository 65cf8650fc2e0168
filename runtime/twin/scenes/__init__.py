"""Scenes of the benchmark: many objects, containers, looks, disturbances and what is asked for."""
