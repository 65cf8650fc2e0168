"""``dvla-arm``: look at an arm controller, tell it to hold, or end a hold."""

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
from dvla.runtime.confirm import confirm_arm
from dvla.runtime.errors import LeaseError, WireError
from dvla.runtime.messages import ArmState, HoldRequest, Reply, Request, ResumeRequest

STATE_WAIT_S = 1.0


def arm(
    action: Annotated[Literal["state", "hold", "resume"], tyro.conf.Positional],
    arm_name: str = "franka",
    yes: bool = False,
    json: bool = False,
    debug: bool = False,
) -> None:
    """Show the state of an arm, stop it and hold, or end a hold.

    Anyone may hold an arm at any time. A hold lasts until somebody ends it: with resume here, or
    with the key R in the run's terminal. The arm then goes on from where it stands, on what is
    seen from then on.

    Args:
        action: state, hold or resume.
        arm_name: Name of the arm, as given to dvla-run.
        yes: Resume without asking for the arm's name.
        json: Print the state as JSON.
        debug: Show tracebacks.
    """
    del debug  # read from the command line where the errors are told
    if action == "hold":
        hold(arm_name)
    elif action == "resume":
        resume(arm_name, yes=yes)
    state = newest_state(arm_name)
    if json:
        print(msgspec.json.encode(state).decode())
        return
    x, y, z = state.measured[:3]
    shadow = " (shadow: it does not move)" if state.shadow else ""
    print(f"{arm_name}: {state.mode}{', ' + state.reason if state.reason else ''}{shadow}")
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
    request = HoldRequest(session=_stranger(), sequence=1, reason="asked by dvla-arm")
    reply = _ask(arm_name, request)
    if not reply.ok:
        raise LeaseError(f"arm {arm_name!r} did not hold: {reply.text}")


def resume(arm_name: str, *, yes: bool) -> None:
    """End a hold, once somebody has confirmed it.

    Raises:
        NotConfirmed: nobody has.
        WireError: no controller of that name answers.
        LeaseError: there is nothing to end, or it cannot be ended.
    """
    state = newest_state(arm_name)
    if state.held or state.mode == "fault":
        confirm_arm(
            arm_name,
            f"Arm {arm_name!r} is in {state.mode} ({state.reason}). It will move again.",
            yes=yes,
        )
    reply = _ask(arm_name, ResumeRequest(session=_stranger(), sequence=1))
    if not reply.ok:
        raise LeaseError(f"arm {arm_name!r} does not go on: {reply.text}")


def _stranger() -> int:
    return secrets.randbits(62) + 1


def _ask(arm_name: str, request: Request) -> Reply:
    from dvla.runtime.addresses import ArmAddresses
    from dvla.runtime.wire import ControlClient

    with closing(ControlClient(ArmAddresses.local(arm_name))) as client:
        return client.ask(request)


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
