"""Whether an arm's driver is commanded, and for whom: shadow until a session has been cleared.

In shadow the controller does everything but call the driver's ``command``: commands pass the gate
or are refused, are counted, and are played to nobody. A session ends the shadow for itself alone;
when its lease ends, the arm is kept where it stands and the next commander finds a shadow again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dvla.runtime.errors import RobotFault
from dvla.runtime.pose import Float64
from dvla.runtime.robots.base import ArmDriver, ArmReading

RECOVERING = "; it is being ended, ask again"
"""End of the answer to who asks an arm in fault to go on."""


class Clearance:
    """The switch between shadow and execution of one arm controller.

    Args:
        driver: of the arm; where it has ``engage``, the arm is taken over when execution begins.
        shadow: whether every commander begins in shadow.

    Attributes:
        shadow: the driver is not commanded.
        engaging: a session was cleared, and the arm is still being taken over.
    """

    def __init__(self, driver: ArmDriver, shadow: bool) -> None:
        self._driver = driver
        self._starts_in_shadow = shadow
        self._session = 0
        self._kept: Float64 | None = None
        self.shadow = shadow
        self.engaging = False

    def ask(self, session: int, now_ns: int) -> str:
        """Clear a session; return why not, or an empty string."""
        if not self.shadow:
            return ""
        engage: Callable[[int], None] | None = getattr(self._driver, "engage", None)
        if engage is not None and self._kept is None:
            try:
                engage(now_ns)
            except RobotFault as fault:
                return str(fault)
        self._session, self.engaging = session, True
        return ""

    def fault(self, reading: ArmReading) -> str:
        """Return what keeps the arm from moving; an arm not taken over yet is none in shadow."""
        return reading.fault or ("" if self.shadow else reading.standby)

    def recover(self, now_ns: int) -> str:
        """Have the driver end a fault that lasts, if it can; return what happens, in words."""
        recover: Callable[[int], None] | None = getattr(self._driver, "recover", None)
        if recover is None:
            return ""
        try:
            recover(now_ns)
        except RobotFault as fault:
            return f"; it cannot be ended: {fault}"
        return RECOVERING

    def settles(self, reading: ArmReading) -> bool:
        """Return whether execution begins with this reading."""
        if not self.engaging or reading.standby:
            return False
        self.engaging = self.shadow = False
        return True

    def withdraw(self) -> None:
        """End the clearance with the lease; ``rest`` makes it so once the arm stands."""
        self._session, self.engaging = 0, False

    def rest(self, commanded: Float64) -> None:
        """Note that the arm stands at ``commanded`` (8,)."""
        if self._starts_in_shadow and not self.shadow and not self._session:
            self.shadow, self._kept = True, commanded.copy()

    def forget(self) -> None:
        """Keep the arm nowhere: it is in fault, and nothing is commanded."""
        self._kept = None

    def command(self, commanded: Float64, now_ns: int) -> None:
        """Send a setpoint (8,), or in shadow only keep the arm where it was left.

        Raises:
            RobotFault: the driver refuses.
        """
        if not self.shadow:
            self._driver.command(commanded, now_ns)
        elif self._kept is not None:
            self._driver.command(np.array(self._kept), now_ns)
