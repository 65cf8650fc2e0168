"""A run on one host and its arm on another: keys, clocks, delay, loss, and a cable pulled out."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dvla.benchmarks.faults.hosts import CLOCK_APART_S, NoNamespaces, Program
from dvla.benchmarks.faults.inject_cable import send_junk
from dvla.benchmarks.faults.live_hosts import ADDRESS, TwoHosts

pytest.importorskip("mujoco")


class Hosts(TwoHosts):
    """A control PC, on which the twin's controller runs, and a Jetson."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.controller = self.arm(["dvla.runtime.cli.arm"])

    def ask(self, *flags: str, keys: str = "jetson") -> tuple[int, str]:
        """Return what ``dvla-arm state`` says on the Jetson, and its exit code."""
        told = ("state", "--address", ADDRESS, "--keys", keys, *flags)
        program = Program(self.jetson, self.cable.run, "dvla.runtime.cli.arm", *told)
        return program.end(), program.text

    def close(self) -> None:
        self.controller.process.kill()
        self.controller.process.wait()
        self.cable.close()


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    try:
        made = Hosts(tmp_path_factory.mktemp("hosts"))
    except NoNamespaces as why:
        pytest.skip(str(why))
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
    send_junk(hosts.jetson, hosts.cable.run)
    code, text = hosts.ask()
    assert code == 0 and text.startswith("franka: idle"), text
    found = re.search(r"(\d+) malformed", text)
    assert found and int(found[1]) >= 20, text


def test_a_run_drives_the_arm_over_a_bad_cable_until_it_is_pulled_out(hosts: Hosts) -> None:
    hosts.cable.shape(5.0, 1.0, 0.01)
    flags = ("--robot", "franka", "--sim", "--policy", "oracle", "--duration", "0", "--plain")
    where = ("--arm-address", ADDRESS, "--keys", "jetson", "--out", str(hosts.jetson / "runs"))
    run = Program(hosts.jetson, hosts.cable.run, "dvla.runtime.cli.run", *flags, *where)
    try:
        # A busy machine carries packets late, too: then the arm stops now and then, and goes on.
        run.until("arm=follow")
        run.until("inference_p50_ms")
        assert bound_ms(run.text) >= 4.0
        time.sleep(1.0)
        told = len(hosts.controller.text)
        hosts.cable.cut()
        hosts.controller.until("idle: lease expired")
        assert run.end() == 1, run.text
        assert f"{ADDRESS} is not heard any more" in run.text
        assert re.search(r"commands accepted +[1-9]\d", run.text), run.text
        last = hosts.controller.text[told:].split("idle: lease expired")[0]
        assert re.search(r"(stopping|hold): (no fresh command|commands ran out)", last), last
    finally:
        run.process.kill()
    hosts.cable.shape(0.0)
    code, text = hosts.ask()
    assert code == 0 and text.startswith("franka: idle, lease expired"), text
    hosts.controller.signal(signal.SIGTERM)
    assert hosts.controller.end() == 128 + signal.SIGTERM
    assert not list((hosts.pc / "dvla").rglob("franka/*"))
