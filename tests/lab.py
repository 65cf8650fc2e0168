"""What stands around a real arm, as doubles: two cameras and an installed policy.

``build_lab`` writes a ``cv2`` whose devices are files, and a package that offers the policy
``sway``, into a folder that goes before everything else on ``PYTHONPATH``.
"""

from __future__ import annotations

from pathlib import Path

CV2 = '''
"""OpenCV's capture of a device, 25 frames a second; every device has a view of its own."""
import time
import numpy as np

CAP_V4L2, CAP_PROP_FRAME_WIDTH, CAP_PROP_FRAME_HEIGHT, CAP_PROP_FPS = 200, 3, 4, 5
CAP_PROP_BUFFERSIZE, CAP_PROP_POS_MSEC, COLOR_BGR2RGB = 38, 0, 4

class VideoCapture:
    def __init__(self, device, backend):
        self.noise = np.random.default_rng(len(device))
        blocks = self.noise.integers(40, 200, (9, 12, 3), np.uint8)
        self.view = np.kron(blocks, np.ones((40, 40, 1), np.uint8))
        self.due_s = time.monotonic()
    def isOpened(self): return True
    def set(self, key, value): return True
    def grab(self):
        self.due_s = max(self.due_s + 0.04, time.monotonic() - 0.04)
        time.sleep(max(0.0, self.due_s - time.monotonic()))
        self.stamp_ms = time.monotonic() * 1e3
        return True
    def get(self, key): return self.stamp_ms
    def retrieve(self):
        self.view[:4] = self.noise.integers(40, 200, 3, np.uint8)
        return True, self.view.copy()
    def release(self): pass

def cvtColor(image, code): return np.ascontiguousarray(image[..., ::-1])
'''

POLICY = '''
"""A policy that moves the arm along y, to and fro about where it began."""
import numpy as np
from dvla.runtime.chunk import Chunk

SPEED_M_S, AMPLITUDE_M = 0.05, 0.03

class Sway:
    chunk_size, control_period_s = 20, 0.04
    def __init__(self, argument):
        self.reset()
    def reset(self):
        self.middle, self.way = None, 1.0
    def predict(self, observation, noise=None, seed=None):
        pose = observation.state[-1, :6].astype(np.float64)
        self.middle = pose[1] if self.middle is None else self.middle
        if abs(pose[1] - self.middle) > AMPLITUDE_M:
            self.way = -np.sign(pose[1] - self.middle)
        actions = np.tile(np.r_[pose, 1.0], (20, 1))
        actions[:, 1] += self.way * SPEED_M_S * 0.04 * np.arange(20)
        return Chunk(actions=actions.astype(np.float32), t_obs_ns=observation.t_obs_ns,
                     inference_s=0.0, control_period_s=0.04)
'''


def build_lab(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Write the doubles; return what goes on PYTHONPATH, and the flags of their run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cv2.py").write_text(CV2)
    (folder / "sway_policy.py").write_text(POLICY)
    info = folder / "sway-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sway\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dvla.policies]\nsway = sway_policy:Sway\n")
    flags = ["--policy", "sway", "--task", "sway"]
    for role in ("opst", "wrist"):
        device = folder / f"video-{role}"
        device.touch()
        flags += ["--camera", f"{role}=v4l2:{device}"]
    return folder, tuple(flags)
