"""One run, from its configuration to its report: what ``dvla-run`` does."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from contextlib import closing
from datetime import datetime, timezone

import msgspec

import dvla
from dvla.engines.errors import DvlaError
from dvla.runtime.arm_connection import ArmConnection
from dvla.runtime.cli.report import show_summary, write_report
from dvla.runtime.clock import NS_PER_S, monotonic_ns
from dvla.runtime.clock_offset import SAME_CLOCK, state_from
from dvla.runtime.confirm import NotConfirmed, confirm_arm
from dvla.runtime.errors import RobotFault
from dvla.runtime.machine import describe_machine
from dvla.runtime.messages import ArmState, ResumeRequest
from dvla.runtime.panel import LivePanel, PlainLog, open_display
from dvla.runtime.panel_keys import HOLD, RESUME, Keys
from dvla.runtime.phase import Phase
from dvla.runtime.preflight.finding import lines
from dvla.runtime.preflight.permit import NotCleared
from dvla.runtime.preflight.report import NAME, PreflightReport
from dvla.runtime.preflight.setup import SetUp
from dvla.runtime.processes.table import PROCESSES
from dvla.runtime.robots import Robot
from dvla.runtime.run_config import RunConfig
from dvla.runtime.run_data import load_run
from dvla.runtime.run_folder import RunFolder, RunManifest
from dvla.runtime.run_inputs import REPLAY, episode_of, input_settings, of_episode, write_recorded
from dvla.runtime.run_settings import make_settings, policy_facts
from dvla.runtime.sequence import Sequence
from dvla.runtime.signals import Impatient, Signals
from dvla.runtime.status import ProcessStatus, RunStatus
from dvla.runtime.summary import RunSummary
from dvla.runtime.supervisor import START_ORDER, SharedMemory, Supervisor
from dvla.runtime.twin.snapshot import SNAPSHOT_BYTES
from dvla.runtime.viewer_live import start_viewer
from dvla.runtime.wire import StateSubscriber

TURN_S = 0.05
SHOW_EVERY_NS = 250_000_000
EXIT_NOT_CLEARED = 1
LOOK_S = 3
"""How long the cameras are looked at before an arm moves."""


class Run:
    """The main loop of ``dvla-run``: start, watch, show, stop in order, report.

    Args:
        config: as checked.
        robot: that it names.
    """

    def __init__(self, config: RunConfig, robot: Robot) -> None:
        self._config, self._robot = config, robot
        facts = policy_facts(config)
        episode = episode_of(config)
        if episode is not None:
            self._config = config = of_episode(config, episode)
        facts |= input_settings(config, facts["cameras"])
        self._shared = SharedMemory(facts["cameras"], SNAPSHOT_BYTES)
        judged = config.in_shadow and config.robot != REPLAY
        self._setup = SetUp(config, robot, self._shared.frames) if judged else None
        if self._setup is not None and config.execute:
            self._setup.require_permit(sys.argv[1:])
        self._folder = RunFolder.create(config.out, robot.name, sim=config.sim)
        if episode is not None:
            write_recorded(self._folder.recorded, episode)
        settings = make_settings(config, robot, self._folder, self._shared, facts)
        self._arm: ArmConnection | None = None
        order: tuple[str, ...] = START_ORDER
        if config.arm_address:
            self._arm = ArmConnection(
                settings.link,
                settings.session,
                self._shared.clock,
                robot=robot.name,
                twin=config.sim,
            )
            order = tuple(name for name in START_ORDER if name != "arm")
        self._supervisor = Supervisor(settings, self._shared, say, order, self._arm)
        self._supervisor.enter(Phase.WAIT)
        self._signals = Signals()
        self._status = bytearray(self._shared.status.slot_bytes)
        self._beats: dict[str, tuple[int, int]] = {}
        self._shown_ns = 0
        self._started_ns = monotonic_ns()
        self._started_utc = datetime.now(timezone.utc).isoformat(timespec="seconds")
        what = config.bundle.name if config.bundle else config.policy
        self._title = f"{what} on {robot.name}{' (digital twin)' if config.sim else ''}"
        if config.in_shadow and not config.execute:
            self._title += ", in shadow: nothing moves"
        self._display: LivePanel | PlainLog | None = None
        self._next_show_ns = 0
        self._keys = Keys()

    def main(self) -> int:
        """Run, stop in order, and write the report; returns the exit code."""
        self._record()
        failure: DvlaError | None = None
        at_once = False
        started = False
        try:
            self._supervisor.start(lambda: not self._signals.received)
            started = not self._signals.received
            self._started_ns = monotonic_ns()  # what counts is the run, not its set-up
            self._record_again()
            if self._config.viz:
                start_viewer(self._folder)
            self._conduct()
        except DvlaError as error:
            failure = error
            started = started and not isinstance(error, (NotConfirmed, NotCleared))
        except Impatient:
            at_once = True
        reason = str(failure) if failure else "the run ends"
        try:
            self._supervisor.stop(reason, at_once=at_once)
        except Impatient:
            at_once = True
            self._signals.ignore()
            self._supervisor.stop(reason, at_once=True)
        self._signals.ignore()
        if not started:
            shutil.rmtree(self._folder.path, ignore_errors=True)  # nothing happened in it
        cleared = True
        if started and not at_once:
            cleared = self._report(judge=failure is None and not self._config.execute)
        if failure is not None:
            raise failure
        if self._signals.received:
            return 128 + self._signals.received
        return 0 if cleared else EXIT_NOT_CLEARED

    def _record_again(self) -> None:
        """Write them once more, with the process ids; a disk that is full by now ends no run."""
        try:
            self._record()
        except OSError as error:
            say(f"the process ids could not be recorded and the run goes on: {error.strerror}")

    def _record(self) -> None:
        """Write the configuration and the manifest."""
        settings = self._supervisor.settings
        self._folder.write_config(self._config)
        self._folder.write_manifest(
            RunManifest(
                robot=settings.robot,
                sim=self._config.sim,
                policy=settings.bundle or settings.policy,
                task=settings.task,
                started_utc=self._started_utc,
                started_ns=self._started_ns,
                control_period_s=settings.control_period_s,
                chunk_size=settings.chunk_size,
                servo_rate_hz=settings.servo.rate_hz,
                version=dvla.__version__,
                machine=describe_machine(),
                command=tuple(sys.argv),
                pids=self._supervisor.pids,
            )
        )

    def _conduct(self) -> None:
        """Lead the run from its first state to its normal end."""
        config = self._config
        with closing(StateSubscriber(self._supervisor.settings.link.connecting())) as states:
            sequence = self._sequence(states)
            if config.in_shadow:
                state = sequence.check_read_only(shadow=True)
                if config.execute:
                    self._check_now()
                    self._confirm(sequence.way(state))
            self._display = open_display(self._title, plain=config.plain or config.json)
            try:
                with self._keys:
                    begins = not config.execute or (
                        sequence.execute() and sequence.move(why="to the start pose")
                    )
                    if begins:
                        self._supervisor.enter(Phase.POLICY)
                        self._watch()
                    if begins and config.return_to_start and not self._signals.received:
                        sequence.go_back()
            finally:
                self._display.close()

    def _check_now(self) -> None:
        """Look once more at what may have changed since the preflight: cameras and clocks.

        Raises:
            NotCleared: a camera is dead, dark or in another's role.
            WireError: the arm's clock is not known well enough.
        """
        assert self._setup is not None
        end_ns = monotonic_ns() + LOOK_S * NS_PER_S
        while self._turn() and monotonic_ns() < end_ns:
            pass
        self._setup.require_cameras()
        if self._arm is not None:
            self._arm.require_for_execute(monotonic_ns())

    def _sequence(self, states: StateSubscriber) -> Sequence:
        settings, board = self._supervisor.settings, self._shared.clock

        def newest() -> ArmState | None:
            state = states.newest()
            return None if state is None else state_from(state, board.offset)

        return Sequence(
            self._supervisor,
            newest,
            self._turn,
            monotonic_ns,
            session=settings.session,
            limits=settings.limits,
            goal=settings.start_pose,
            say=say,
        )

    def _confirm(self, way: str) -> None:
        """Ask for the arm's name; the processes are looked after meanwhile.

        Raises:
            NotConfirmed: nobody confirmed.
        """
        name = self._supervisor.settings.arm_name
        confirm_arm(
            name,
            f"{self._title}: the arm {name!r} is about to move. {way} Keep the enabling device in "
            "your hand.",
            yes=self._config.yes,
            wanted=self._turn,
        )

    def _watch(self) -> None:
        """Turn until the time is up or a signal came."""
        duration_s = self._config.duration
        end_ns = monotonic_ns() + round(duration_s * NS_PER_S) if duration_s else 0
        while self._turn() and not (end_ns and monotonic_ns() >= end_ns):
            pass

    def _turn(self) -> bool:
        """Look after the processes, obey keys, show how it goes; no longer once a signal came."""
        self._supervisor.check()
        self._obey(self._keys.pressed())
        now_ns = monotonic_ns()
        if self._setup is not None:
            self._setup.cameras.look(now_ns)
        if self._display is not None and now_ns >= self._next_show_ns:
            self._next_show_ns = now_ns + SHOW_EVERY_NS
            self._show(self._display, now_ns)
        time.sleep(TURN_S)
        return not self._signals.received

    def _obey(self, pressed: str) -> None:
        """Do what a key of the terminal asks for; a hold goes before anything else."""
        session = self._supervisor.settings.session
        if HOLD in pressed:
            self._supervisor.hold("asked by a key")
        elif RESUME in pressed:
            self._supervisor.ask_arm(ResumeRequest(session=session, sequence=0))

    def _show(self, display: LivePanel | PlainLog, now_ns: int) -> None:
        """Give the display the recorder's newest status and the health of the processes.

        Raises:
            RobotFault: the arm reports a fault; a run does not go on without its arm.
        """
        ring = self._shared.status
        if not ring.newest or ring.read(ring.newest, self._status) is None:
            return
        status = msgspec.json.decode(self._status, type=RunStatus)
        beats = self._supervisor.beats()
        health = tuple(self._health(name, beats[name], now_ns) for name in beats)
        self._beats = beats
        self._shown_ns = now_ns
        clock = self._arm.clock_words(now_ns) if self._arm else ""
        display.update(msgspec.structs.replace(status, processes=health, arm_clock=clock))
        if status.arm_mode == "fault":
            raise RobotFault(
                f"the arm is in fault and moves no more: {status.arm_reason}",
                next_command="read the events of note in the run's report",
            )

    def _health(self, name: str, beat: tuple[int, int], now_ns: int) -> ProcessStatus:
        """Return the health of a process from its beats since the last look."""
        spec = PROCESSES[name]
        past = self._beats.get(name)
        span_s = (now_ns - self._shown_ns) / NS_PER_S
        return ProcessStatus(
            name=name,
            pid=self._supervisor.pids[name],
            alive=now_ns - beat[0] < spec.stall_ns,
            rate_hz=(beat[1] - past[1]) / span_s if past and span_s > 0 else None,
            declared_hz=spec.rate_hz,
        )

    def _report(self, *, judge: bool) -> bool:
        """Compute the summary, write the report, and print what a person wants to know.

        Args:
            judge: whether a shadow run is to be judged by the preflight.

        Returns:
            Whether nothing in it keeps the arm from moving.
        """
        summary = write_report(self._folder.path)
        if not self._config.json:
            show_summary(summary, json=False, plain=self._config.plain)
            if self._folder.report.exists():
                print(f"report: {self._folder.report}")
        found = self._judge(summary) if judge and self._setup is not None else None
        if self._config.json:
            show_summary(summary, json=True, plain=True)
        elif found is not None:
            print("preflight:")
            for line in lines(found.findings):
                print(f"  {line}")
            print(f"preflight {'passed' if found.passed else 'FAILED'}: {self._folder.path / NAME}")
        return found is None or found.passed

    def _judge(self, summary: RunSummary) -> PreflightReport:
        assert self._setup is not None
        words = self._supervisor.words
        bound_s = 0.0
        if self._arm is not None and self._arm.offset is not SAME_CLOCK:
            bound_s = self._arm.offset.bound_at(monotonic_ns()) / NS_PER_S
        return self._setup.conclude(
            load_run(self._folder.path),
            summary,
            {name: words[name] for name in ("servo", "arm") if name in words},
            bound_s,
        )


def say(line: str) -> None:
    """Tell the person who started the run."""
    print(line, file=sys.stderr, flush=True)


def run_loop(config: RunConfig, robot: Robot) -> int:
    """Run a checked configuration and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return Run(config, robot).main()
