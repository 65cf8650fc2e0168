"""A run on one host and its arm on another: keys, clocks, delay, loss, and a cable pulled out."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from two_hosts import ARM_IP, CLOCK_APART_S, ROOT, Cable, Program, environment, keys

pytest.importorskip("mujoco")
pytest.importorskip("mink")

ADDRESS = f"tcp://{ARM_IP}:5600"
GARBAGE = """
import sys, time
from dvla.runtime.arm_link import ArmLink
from dvla.runtime.wire import (MAX_COMMAND_BYTES, CommandPublisher)
from dvla.runtime.wire_control import (ControlClient)
at = ArmLink(name="franka", address=sys.argv[1], keys="jetson").connecting()
commands, control = CommandPublisher(at), ControlClient(at)
commands.await_peer(10.0)
for payload in (b"junk", b"\\x81\\xa4type\\xa4hold", bytes(3000), bytes(MAX_COMMAND_BYTES * 64)):
    for _ in range(20):
        control.socket.send(payload[:3000])
        commands.socket.send(payload)
        time.sleep(0.02)
"""


class Hosts:
    """A control PC, on which the twin's controller runs, and a Jetson."""

    def __init__(self, base: Path) -> None:
        self.cable = Cable()
        self.pc, self.jetson = base / "pc", base / "jetson"
        keys(self.pc, "make", "--name", "arm")
        for name in ("jetson", "stranger"):
            keys(self.jetson, "make", "--name", name)
        there, here = (one / "config" / "dvla" / "keys" for one in (self.pc, self.jetson))
        keys(self.pc, "allow", "--name", "jetson", "--public", str(here / "jetson.public"))
        shutil.copy(there / "arm.public", here)
        flags = ("run", "--robot", "franka", "--sim", "--address", ADDRESS, "--keys", "arm")
        self.arm = Program(self.pc, self.cable.arm, "arm", *flags, other_clock=True)
        self.arm.until("listening")

    def ask(self, *flags: str, keys: str = "jetson") -> tuple[int, str]:
        """Return what ``dvla-arm state`` says on the Jetson, and its exit code."""
        told = ("state", "--address", ADDRESS, "--keys", keys, *flags)
        program = Program(self.jetson, self.cable.run, "arm", *told)
        return program.end(), program.text

    def close(self) -> None:
        self.arm.process.kill()
        self.arm.process.wait()
        self.cable.close()


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    made = Hosts(tmp_path_factory.mktemp("hosts"))
    yield made
    made.close()


def bound_ms(text: str) -> float:
    found = re.search(r"known to ([\d.]+) ms", text)
    assert found, text
    return float(found[1])


def test_the_other_clock_is_known_with_a_bound_that_holds(hosts: Hosts) -> None:
    for delay_ms in (0.0, 6.0):
        hosts.cable.shape(delay_ms)
        code, text = hosts.ask()
        assert code == 0, text
        found = re.search(r"its clock is ([+-][\d.]+) s from ours", text)
        assert found, text
        assert abs(float(found[1]) - CLOCK_APART_S) * 1e3 <= bound_ms(text) + 1e-3
    # Six milliseconds each way leave at least six: nothing better can be known.
    assert bound_ms(text) >= 6.0 and "not enough for --execute" in text


def test_who_has_no_right_key_stays_outside_and_is_counted(hosts: Hosts) -> None:
    hosts.cable.shape(0.0)
    stranger = hosts.jetson / "config" / "dvla" / "keys" / "stranger.public"
    before = refused(hosts)
    for flags, key in (((), "stranger"), (("--arm-key", str(stranger)), "jetson")):
        code, text = hosts.ask(*flags, keys=key)
        assert code == 2 and "no arm controller is heard" in text, text
        after = refused(hosts)
        assert after > before, key
        before = after


def refused(hosts: Hosts) -> int:
    found = re.search(r"(\d+) connections", hosts.ask()[1])
    return int(found[1]) if found else 0


def test_garbage_and_oversized_messages_are_counted_and_change_nothing(hosts: Hosts) -> None:
    hosts.cable.shape(0.0)
    subprocess.run(
        ["ip", "netns", "exec", hosts.cable.run, sys.executable, "-c", GARBAGE, ADDRESS],
        cwd=ROOT,
        env=environment(hosts.jetson),
        check=True,
    )
    code, text = hosts.ask()
    assert code == 0 and text.startswith("franka: idle"), text
    found = re.search(r"(\d+) malformed", text)
    assert found and int(found[1]) >= 20, text


def test_a_run_drives_the_arm_over_a_bad_cable_until_it_is_pulled_out(hosts: Hosts) -> None:
    hosts.cable.shape(5.0, 1.0, 0.01)
    flags = ("--robot", "franka", "--sim", "--policy", "oracle", "--duration", "0", "--plain")
    where = ("--arm-address", ADDRESS, "--keys", "jetson", "--out", str(hosts.jetson / "runs"))
    run = Program(hosts.jetson, hosts.cable.run, "run", *flags, *where)
    try:
        # A busy machine carries packets late, too: then the arm stops now and then, and goes on.
        run.until("arm=follow")
        run.until("inference_p50_ms")
        assert bound_ms(run.text) >= 4.0
        time.sleep(1.0)
        told = len(hosts.arm.text)
        hosts.cable.cut()
        hosts.arm.until("idle: lease expired")
        assert run.end() == 1, run.text
        assert f"{ADDRESS} is not heard any more" in run.text
        assert re.search(r"commands accepted +[1-9]\d", run.text), run.text
        last = hosts.arm.text[told:].split("idle: lease expired")[0]
        assert re.search(r"(stopping|hold): (no fresh command|commands ran out)", last), last
    finally:
        run.process.kill()
    hosts.cable.shape(0.0)
    code, text = hosts.ask()
    assert code == 0 and text.startswith("franka: idle, lease expired"), text
    hosts.arm.signal(signal.SIGTERM)
    assert hosts.arm.end() == 128 + signal.SIGTERM
    assert not list((hosts.pc / "dvla").rglob("franka/*"))
