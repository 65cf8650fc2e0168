"""A real Franka (FR3, Panda) over the Franka Control Interface, by the library franka-rs."""
