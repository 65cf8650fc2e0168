"""The digital twin of the Franka arm: physics, driver and pictures (needs the extra ``sim``)."""
