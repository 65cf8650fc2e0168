"""Servo and arm in one process under virtual time, with an unreliable wire between them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from arm_doubles import HOME, LIMITS, MS, EventList, LaggingDriver

from dvla.bindings import ActionStream
from dvla.runtime.arm import ArmController
from dvla.runtime.config import ServoConfig
from dvla.runtime.limits import ArmLimits
from dvla.runtime.messages import ArmState, Command, LeaseRequest
from dvla.runtime.pose import Float64
from dvla.runtime.servo import ServoCore

SESSION = 7
T_NS = 40 * MS


def publish(
    stream: ActionStream, rows: Float64, start_ns: int, *, t_obs_ns: int, chunk: int = 0
) -> None:
    """Publish actions that come into force one control period apart from ``start_ns`` on."""
    n = len(rows)
    stream.publish(
        start_ns + T_NS // 2 + T_NS * np.arange(n, dtype=np.int64),
        np.ascontiguousarray(rows, np.float64),
        np.full(n, chunk, np.int64),
        np.full(n, t_obs_ns, np.int64),
        start_ns=start_ns,
        end_ns=start_ns + n * T_NS,
        generation=0,
    )


class ServoLoop:
    """One servo, one arm; ``wire`` decides what becomes of each command.

    Args:
        arm_period_ns: tick of the arm; the servo's is 4 ms.
        wire: maps (index, command, sent_ns) to the arrivals [(t_ns, command)].
    """

    def __init__(
        self,
        *,
        arm_period_ns: int = MS,
        wire: Callable[[int, Command, int], list[tuple[int, Command]]] | None = None,
        limits: ArmLimits = LIMITS,
        state_delay_ns: int = 2 * MS,
        home: Float64 = HOME,
        rate_hz: int = 250,
    ) -> None:
        self.now_ns = 1_000_000 * MS
        self.driver = LaggingDriver(home)
        self.events = EventList()
        self.arm = ArmController(self.driver, limits, self.events, self.now_ns, session=1)
        self.stream = ActionStream.create()
        self.limits = limits
        self.config = ServoConfig(rate_hz=rate_hz)
        self.new_servo(SESSION)
        self.wire = wire or (lambda _i, command, sent_ns: [(sent_ns + MS, command)])
        self.arm_period_ns = arm_period_ns
        self.state_delay_ns = state_delay_ns
        self.servo_alive = True
        self.commands: list[Command] = []
        self.verdicts: list[str] = []
        self._flight: list[tuple[int, int, Command]] = []
        self._states: list[tuple[int, ArmState]] = []

    def new_servo(self, session: int) -> None:
        self.session = session
        self.servo = ServoCore(self.stream, self.limits, self.config, session=session)

    def lease(self) -> None:
        request = LeaseRequest(session=self.session, sequence=0, holder="test")
        assert self.arm.handle(request, self.now_ns).ok

    def run(self, duration_s: float) -> None:
        end_ns = self.now_ns + int(duration_s * 1e9)
        while self.now_ns < end_ns:
            if self.servo_alive and self.now_ns % self.config.period_ns == 0:
                self._servo_tick()
            if self.now_ns % self.arm_period_ns == 0:
                self._arm_tick()
            self.now_ns += MS

    def _servo_tick(self) -> None:
        seen = [state for t_ns, state in self._states if t_ns <= self.now_ns]
        command = self.servo.tick(self.now_ns, seen[-1] if seen else None)
        self._states = self._states[max(0, len(seen) - 1) :]
        if command is not None:
            arrivals = self.wire(len(self.commands), command, self.now_ns)
            self.commands.append(command)
            for t_ns, arrived in arrivals:
                self._flight.append((t_ns, len(self._flight), arrived))

    def _arm_tick(self) -> None:
        due = [item for item in self._flight if item[0] <= self.now_ns]
        due.sort(key=lambda item: item[:2])
        self._flight = [item for item in self._flight if item[0] > self.now_ns]
        for _, _, command in due:
            self.verdicts.append(self.arm.on_command(command, self.now_ns).reason)
        self.arm.tick(self.now_ns)
        if self.now_ns % (4 * MS) == 0:
            self._states.append((self.now_ns + self.state_delay_ns, self.arm.state(self.now_ns)))

    @property
    def rejected(self) -> dict[str, int]:
        return self.arm.state(self.now_ns).rejected
