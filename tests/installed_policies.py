"""A package that offers policies, as pip would leave it: good ones and bad ones."""

from __future__ import annotations

from pathlib import Path

MODULE = '''
import numpy as np
from dvla.runtime.chunk import Chunk

class Still:
    """Keeps the arm where it is."""
    chunk_size, control_period_s = 10, 0.04
    def __init__(self, argument=""):
        self.argument, self.seeds, self.resets = argument, [], 0
    def predict(self, observation, noise=None, seed=None):
        self.seeds.append(seed)
        row = np.r_[observation.state[-1, :6], 1.0]
        return Chunk(actions=np.tile(row, (10, 1)).astype(np.float32),
                     t_obs_ns=observation.t_obs_ns, inference_s=0.0, control_period_s=0.04)
    def reset(self):
        self.resets += 1

class Seeing(Still):
    """Says which pictures it wants, and remembers which it got."""
    picture_size, history_steps = (48, 64), (-4, -1, 0)
    def __init__(self, argument=""):
        super().__init__(argument)
        self.shapes = set()
    def predict(self, observation, noise=None, seed=None):
        self.shapes |= {picture.shape for picture in observation.images.values()}
        return super().predict(observation, noise, seed)

class Narrow(Still):
    def predict(self, observation, noise=None, seed=None):
        return Chunk(actions=np.zeros((10, 6), np.float32), t_obs_ns=observation.t_obs_ns,
                     inference_s=0.0, control_period_s=0.04)

class Broken(Still):
    def predict(self, observation, noise=None, seed=None):
        return Chunk(actions=np.full((10, 7), np.nan, np.float32), t_obs_ns=observation.t_obs_ns,
                     inference_s=0.0, control_period_s=0.04)

class Bare(Still):
    def predict(self, observation, noise=None, seed=None):
        return np.zeros((10, 7))

def half(argument):
    return object()

def fails(argument):
    raise FileNotFoundError(argument)
'''
NAMES = ("Still", "Seeing", "Narrow", "Broken", "Bare", "half", "fails")


def install_policies(site: Path) -> Path:
    """Write the package into a folder of Python's path."""
    site.mkdir(parents=True, exist_ok=True)
    (site / "some_policies.py").write_text(MODULE)
    info = site / "some_policies-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-policies\nVersion: 1.0\n")
    lines = [f"{name.lower()} = some_policies:{name}" for name in NAMES]
    lines.append("gone = no_such_module:policy")
    (info / "entry_points.txt").write_text("[dvla.policies]\n" + "\n".join(lines) + "\n")
    return site
