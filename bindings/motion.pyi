"""Nothing of this module is visible from Python; the shaper uses it without the GIL."""
