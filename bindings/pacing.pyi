from dvla.bindings.kinematics import Kinematics

__all__ = ["Pacing"]

class Pacing(Kinematics):
    """The kinematics of one serial arm, with the limits of its joints, which ``Follower`` gives."""
