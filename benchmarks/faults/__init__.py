"""The fault campaign: what a run does when something goes wrong, measured from outside of it."""
