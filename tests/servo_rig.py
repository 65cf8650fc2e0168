"""A commander of an arm controller, one millisecond at a time."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import msgspec
import numpy as np
from arm_doubles import HOME, LIMITS, MS, EventList, LaggingDriver

from dvla.runtime import arm as arm_module
from dvla.runtime.messages import Command, LeaseRequest
from dvla.runtime.pose import Float64
from dvla.runtime.rotation import rotate

START = 2_000_000 * MS


class Commander:
    """An arm controller with a commander that sends a minimum-jerk move, command by command."""

    def __init__(
        self,
        module: ModuleType = arm_module,
        driver: LaggingDriver | None = None,
        shadow: bool = False,
        **bounds: float,
    ) -> None:
        self.now = START
        self.session = 7
        self.driver = driver or LaggingDriver()
        self.events = EventList()
        self.arm = module.ArmController(
            self.driver,
            LIMITS,
            self.events,
            self.now,
            session=1,
            bounds=module.ArmBounds(**bounds),
            **({"shadow": True} if shadow else {}),
        )
        self.sequence = 0

    def ask(self, kind: Any, session: int = 7, **fields: Any) -> Any:
        return self.arm.handle(kind(session=session, sequence=1, **fields), self.now)

    def lease(self, session: int = 7, holder: str = "run A") -> Any:
        return self.ask(LeaseRequest, session, holder=holder)

    def state(self) -> Any:
        return self.arm.state(self.now)

    def command(self, rows: Float64 | None = None, **changes: Any) -> Command:
        self.sequence += 1
        rows = np.repeat(np.array(self.state().commanded)[None], 25, 0) if rows is None else rows
        base = Command(
            session=self.session,
            sequence=self.sequence,
            generation=0,
            t_obs_ns=self.now - 100 * MS,
            t_due_ns=self.now,
            valid_until_ns=self.now + 80 * MS,
            arm_epoch=self.state().arm_epoch,
            period_ns=4 * MS,
            setpoints=np.ascontiguousarray(rows).tobytes(),
        )
        return msgspec.structs.replace(base, **changes)

    def send(self, rows: Float64 | None = None, **changes: Any) -> str:
        return str(self.arm.on_command(self.command(rows, **changes), self.now).reason)

    def ticks(self, duration_ms: int) -> None:
        for _ in range(duration_ms):
            self.arm.tick(self.now)
            self.now += MS

    def move(
        self,
        duration_ms: int,
        offset: tuple[float, float, float] = (0.2, 0.1, 0.0),
        start: Float64 = HOME,
    ) -> None:
        """Follow a minimum-jerk path of 1 s, from HOME or elsewhere, one command every 4 ms."""
        for _ in range(duration_ms // 4):
            t = (self.now - self.path_ns + 4 * MS * np.arange(25)) * 1e-9
            s = np.clip(t, 0.0, 1.0)
            rows = np.repeat(start[None], 25, axis=0)
            rows[:, :3] += (10 * s**3 - 15 * s**4 + 6 * s**5)[:, None] * np.asarray(offset)
            self.send(rows)
            self.ticks(4)

    def moving(self) -> Commander:
        self.lease()
        self.path_ns = self.now
        self.move(400)
        assert self.arm.mode == "follow"
        return self


def continued(rig: Commander, shape: Float64) -> Float64:
    """Return rows that continue the commanded motion with jerks of ``shape`` (3, 6), in parts."""
    pose, twist, change = rig.arm._player.gate.track.motion(rig.now)
    pose = pose if rig.arm.mode == "follow" else np.array(rig.state().commanded)
    rows = np.repeat(pose[None], 25, axis=0)
    jerk = np.repeat(shape, 9, axis=0)[:25] * 500.0
    bend = change + np.cumsum(jerk, axis=0) * 0.004
    speed = twist + np.cumsum(bend, axis=0) * 0.004
    path = np.cumsum(speed, axis=0) * 0.004
    rows[:, :3] += path[:, :3]
    for row, turn in zip(rows, path[:, 3:], strict=True):
        row[3:7] = rotate(turn, pose[3:7])
    return rows
