"""PiPER (AgileX): limits, CAN protocol, kinematics and driver of the real arm."""
