"""Episodes of the twin, recorded with the expert's answer at every control step."""
