"""The dynamic object manipulation benchmark on the Franka twin."""
