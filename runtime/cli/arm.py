"""``dvla-arm``: run an arm controller, look at one, tell it to hold, or end a hold."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable
from contextlib import closing

import msgspec
import tyro

from dvla.engines.cli_errors import run_main
from dvla.runtime.arm_link import ARM_KEY, LOCAL, ArmLink
from dvla.runtime.clearance import RECOVERING
from dvla.runtime.cli.arm_frames import verify_frames
from dvla.runtime.cli.arm_run import run
from dvla.runtime.confirm import confirm_arm
from dvla.runtime.errors import LeaseError, WireError
from dvla.runtime.messages import ArmState, HoldRequest, Reply, Request, ResumeRequest

STATE_WAIT_S = 3.0
RECOVERY_S = 6.0


def state(
    arm_name: str = "franka",
    address: str = LOCAL,
    keys: str = "",
    arm_key: str = ARM_KEY,
    json: bool = False,
    debug: bool = False,
) -> None:
    """Show the state of an arm.

    Args:
        arm_name: Name of the arm, as given to dvla-run or dvla-arm run.
        address: Where its controller listens: local, or tcp://HOST:PORT.
        keys: Name of this host's key; beyond the loopback TCP needs keys.
        arm_key: Public key of the controller: its name among the keys, its file, or itself.
        json: Print the state as JSON.
        debug: Show tracebacks.
    """
    del debug  # read from the command line where the errors are told
    show(ArmLink(name=arm_name, address=address, keys=keys, arm_key=arm_key), json)


def hold(
    arm_name: str = "franka",
    address: str = LOCAL,
    keys: str = "",
    arm_key: str = ARM_KEY,
    json: bool = False,
    debug: bool = False,
) -> None:
    """Stop an arm and hold it, until somebody resumes; anyone may, at any time.

    Args:
        arm_name: Name of the arm, as given to dvla-run or dvla-arm run.
        address: Where its controller listens: local, or tcp://HOST:PORT.
        keys: Name of this host's key; beyond the loopback TCP needs keys.
        arm_key: Public key of the controller: its name among the keys, its file, or itself.
        json: Print the state afterwards as JSON.
        debug: Show tracebacks.
    """
    del debug  # read from the command line where the errors are told
    link = ArmLink(name=arm_name, address=address, keys=keys, arm_key=arm_key)
    ask_to_hold(link)
    show(link, json)


def resume(
    arm_name: str = "franka",
    address: str = LOCAL,
    keys: str = "",
    arm_key: str = ARM_KEY,
    yes: bool = False,
    json: bool = False,
    debug: bool = False,
) -> None:
    """End a hold: the arm goes on from where it stands, on what is seen from then on.

    A hold lasts until somebody ends it, here or with the key R in the run's terminal.

    Args:
        arm_name: Name of the arm, as given to dvla-run or dvla-arm run.
        address: Where its controller listens: local, or tcp://HOST:PORT.
        keys: Name of this host's key; beyond the loopback TCP needs keys.
        arm_key: Public key of the controller: its name among the keys, its file, or itself.
        yes: Resume without asking for the arm's name.
        json: Print the state afterwards as JSON.
        debug: Show tracebacks.
    """
    del debug  # read from the command line where the errors are told
    link = ArmLink(name=arm_name, address=address, keys=keys, arm_key=arm_key)
    ask_to_resume(link, yes=yes)
    show(link, json)


def show(link: ArmLink, json: bool) -> None:
    """Print the next state that an arm reports, and over TCP how well its clock is known."""
    found = newest_state(link)
    if json:
        print(msgspec.json.encode(found).decode())
        return
    x, y, z = found.measured[:3]
    shadow = " (shadow: it does not move)" if found.shadow else ""
    kind = " (digital twin)" if found.twin else ""
    pace = " (slow: held to the limits of a slow move)" if found.slow else ""
    why = f", {found.reason}" if found.reason else ""
    print(f"{link.name}: {found.mode}{why}{shadow}{pace}{kind}")
    print(
        f"  tool at {x:.3f}, {y:.3f}, {z:.3f} m, {1e3 * found.tracking_m:.1f} mm from its command"
    )
    print(f"  commands accepted {found.accepted}, rejected {sum(found.rejected.values())}")
    if found.malformed or found.refused_peers:
        print(f"  refused: {found.malformed} malformed, {found.refused_peers} connections")
    if link.remote:
        print(f"  {clock_words(link)}")


def clock_words(link: ArmLink) -> str:
    """Say how well the clock of a controller is known from here.

    Raises:
        WireError: it does not answer.
    """
    from dvla.runtime.clock_offset import MAX_EXECUTE_BOUND_NS, SAME_CLOCK
    from dvla.runtime.wire_control import ControlClient

    with closing(ControlClient(link.connecting())) as client:
        offset = client.measure_clock(_stranger())
    if offset is SAME_CLOCK:
        return "its clock is this host's"
    later_ns = offset.bound_before_next(offset.t_ns)
    enough = "enough" if later_ns <= MAX_EXECUTE_BOUND_NS else "not enough"
    return (
        f"its clock is {offset.offset_ns / 1e9:+.6f} s from ours, known to "
        f"{offset.bound_ns / 1e6:.2f} ms, {later_ns / 1e6:.2f} before a run's next answer: "
        f"{enough} for --execute "
        f"(at most {MAX_EXECUTE_BOUND_NS / 1e6:g} ms)"
    )


def ask_to_hold(link: ArmLink) -> None:
    """Stop an arm and hold.

    Raises:
        WireError: no controller of that name answers.
        LeaseError: it refused.
    """
    reply = _ask(link, HoldRequest(session=_stranger(), sequence=1, reason="asked by dvla-arm"))
    if not reply.ok:
        raise LeaseError(f"arm {link.name!r} did not hold: {reply.text}")


def ask_to_resume(link: ArmLink, *, yes: bool) -> None:
    """End a hold, once somebody has confirmed it.

    Raises:
        NotConfirmed: nobody has.
        WireError: no controller of that name answers.
        LeaseError: there is nothing to end, or it cannot be ended.
    """
    found = newest_state(link)
    if found.held or found.mode == "fault":
        question = f"Arm {link.name!r} is in {found.mode} ({found.reason}). It will move again."
        confirm_arm(link.name, question, yes=yes)
    end_s = time.monotonic() + RECOVERY_S
    reply = _ask(link, ResumeRequest(session=_stranger(), sequence=1))
    while not reply.ok and reply.text.endswith(RECOVERING) and time.monotonic() < end_s:
        time.sleep(0.2)
        reply = _ask(link, ResumeRequest(session=_stranger(), sequence=1))
    if not reply.ok:
        raise LeaseError(f"arm {link.name!r} does not go on: {reply.text}")


def _stranger() -> int:
    return secrets.randbits(62) + 1


def _ask(link: ArmLink, request: Request) -> Reply:
    from dvla.runtime.wire_control import ControlClient

    with closing(ControlClient(link.connecting())) as client:
        return client.ask(request)


def newest_state(link: ArmLink, clock_s: Callable[[], float] = time.monotonic) -> ArmState:
    """Return the next state that an arm reports.

    Raises:
        WireError: none came.
    """
    from dvla.runtime.wire import StateSubscriber

    deadline_s = clock_s() + (STATE_WAIT_S if link.remote else 1.0)
    with closing(StateSubscriber(link.connecting())) as states:
        while clock_s() < deadline_s:
            found = states.newest()
            if found is not None:
                return found
            if states.foreign is not None:
                raise WireError(
                    f"the state of arm {link.name!r} is not understood", got=states.foreign.words
                )
            time.sleep(0.005)
    if link.remote:
        raise WireError(
            f"no arm controller is heard at {link.address}",
            expected="dvla-arm run there, with this host's key on its allow-list, a network that "
            "lets five ports through, and its public key here as --arm-key",
            next_command="dvla-keys list, on both hosts",
        )
    raise WireError(
        f"arm {link.name!r} reports no state",
        expected="a run that drives it, or a dvla-arm run, on this host",
        next_command=f"dvla-arm run --robot franka --sim --arm-name {link.name}",
    )


def _body() -> int | None:
    argv = ["hold" if argument == "--hold" else argument for argument in sys.argv[1:]]
    commands: dict[str, Callable[..., object]] = {
        "run": run,
        "state": state,
        "hold": hold,
        "resume": resume,
        "verify-frames": verify_frames,
    }
    code = tyro.extras.subcommand_cli_from_dict(
        commands,
        prog="dvla-arm",
        args=argv,
        description="Run an arm controller of its own; look at one, hold it, or end a hold.",
    )
    return code if isinstance(code, int) else None


def main() -> int:
    """Entry point of ``dvla-arm``."""
    return run_main(_body)


if __name__ == "__main__":
    sys.exit(main())
