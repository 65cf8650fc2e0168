"""``dvla-arm``: look at an arm controller that runs on this host, or tell it to hold."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import Annotated, Literal

import msgspec
import tyro

from dvla.engines.cli_errors import run_main
from dvla.runtime.errors import LeaseError, WireError
from dvla.runtime.messages import ArmState, HoldRequest

STATE_WAIT_S = 1.0


def arm(
    action: Annotated[Literal["state", "hold"], tyro.conf.Positional],
    arm_name: str = "franka",
    json: bool = False,
    debug: bool = False,
) -> None:
    """Show the state of an arm, or stop it and hold; anyone may hold an arm at any time.

    A hold lasts until the run that commands the arm ends: end it with Ctrl-C and start again.

    Args:
        action: state or hold.
        arm_name: Name of the arm, as given to dvla-run.
        json: Print the state as JSON.
        debug: Show tracebacks.
    """
    del debug  # read from the command line where the errors are told
    if action == "hold":
        hold(arm_name)
    state = newest_state(arm_name)
    if json:
        print(msgspec.json.encode(state).decode())
        return
    x, y, z = state.measured[:3]
    print(f"{arm_name}: {state.mode}{', ' + state.reason if state.reason else ''}")
    print(
        f"  tool at {x:.3f}, {y:.3f}, {z:.3f} m, {1e3 * state.tracking_m:.1f} mm from its command"
    )
    print(f"  commands accepted {state.accepted}, rejected {sum(state.rejected.values())}")


def hold(arm_name: str) -> None:
    """Stop an arm and hold.

    Raises:
        WireError: no controller of that name answers.
        LeaseError: it refused.
    """
    from dvla.runtime.addresses import ArmAddresses
    from dvla.runtime.wire import ControlClient

    request = HoldRequest(session=secrets.randbits(62) + 1, sequence=1, reason="asked by dvla-arm")
    with closing(ControlClient(ArmAddresses.local(arm_name))) as client:
        reply = client.ask(request)
    if not reply.ok:
        raise LeaseError(f"arm {arm_name!r} did not hold: {reply.text}")


def newest_state(arm_name: str, clock_s: Callable[[], float] = time.monotonic) -> ArmState:
    """Return the next state that an arm reports.

    Raises:
        WireError: none came.
    """
    from dvla.runtime.addresses import ArmAddresses
    from dvla.runtime.wire import StateSubscriber

    deadline_s = clock_s() + STATE_WAIT_S
    with closing(StateSubscriber(ArmAddresses.local(arm_name))) as states:
        while clock_s() < deadline_s:
            state = states.newest()
            if state is not None:
                return state
            time.sleep(0.005)
    raise WireError(
        f"arm {arm_name!r} reports no state",
        expected="a run that drives it on this host",
        next_command=f"dvla-run --robot franka --sim --policy oracle --arm-name {arm_name}",
    )


def main() -> int:
    """Entry point of ``dvla-arm``."""
    return run_main(lambda: tyro.cli(arm, prog="dvla-arm"))


if __name__ == "__main__":
    sys.exit(main())
