"""One run, from its configuration to its report: what ``dvla-run`` does."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from contextlib import closing
from datetime import datetime, timezone

from dvla.engines.errors import DvlaError
from dvla.runtime.arm_connection import ArmConnection
from dvla.runtime.clock import NS_PER_S, monotonic_ns
from dvla.runtime.clock_offset import SAME_CLOCK, state_from
from dvla.runtime.confirm import NotConfirmed, confirm_arm
from dvla.runtime.errors import RobotFault
from dvla.runtime.messages import ArmState, ResumeRequest
from dvla.runtime.panel_keys import HOLD, RESUME, Keys
from dvla.runtime.phase import Phase
from dvla.runtime.preflight.permit import NotCleared
from dvla.runtime.preflight.setup import SetUp
from dvla.runtime.robots import Robot
from dvla.runtime.run_config import RunConfig
from dvla.runtime.run_end import report_run
from dvla.runtime.run_folder import RunFolder
from dvla.runtime.run_inputs import (
    REPLAY,
    episode_of,
    input_settings,
    of_episode,
    write_recorded,
)
from dvla.runtime.run_record import manifest_of
from dvla.runtime.run_screen import RunScreen
from dvla.runtime.run_settings import make_settings, policy_facts
from dvla.runtime.say import say, settle
from dvla.runtime.sequence import Sequence
from dvla.runtime.signals import Impatient, Signals
from dvla.runtime.supervisor import START_ORDER, SharedMemory, Supervisor
from dvla.runtime.twin.snapshot import SNAPSHOT_BYTES
from dvla.runtime.viewer_live import Viewer
from dvla.runtime.wire import StateSubscriber

TURN_S = 0.05
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
        self._supervisor = Supervisor(
            settings,
            self._shared,
            say,
            order,
            self._arm,
            must_record=config.require_recording,
        )
        self._supervisor.enter(Phase.WAIT)
        self._signals = Signals()
        self._clock_in()
        self._screen = RunScreen(config, self._shared.status, self._supervisor, self._arm)
        self._states: StateSubscriber | None = None
        self._viewer: Viewer | None = None
        self._keys = Keys()

    def main(self) -> int:
        """Run, stop in order, and write the report; returns the exit code."""
        self._record()
        failure: BaseException | None = None
        at_once = started = False
        try:
            self._supervisor.start(lambda: not self._signals.received)
            started = not self._signals.received
            self._clock_in()  # what counts is the run, not its set-up
            self._record_again()
            if self._config.viz:
                self._viewer = Viewer(self._folder)
                say(self._viewer.words)
            self._conduct()
        except Impatient:
            at_once = True
        except BaseException as error:  # whatever it is, the arm stops and the run is reported
            failure = error
            started = started and not isinstance(error, (NotConfirmed, NotCleared))
        self._ended_ns = monotonic_ns()
        reason = words_of(failure) if failure is not None else "the run ends"
        signal = self._signals.received
        ending = reason if failure is not None else f"ended by signal {signal}" if signal else ""
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
            self._record_again(ending)
            cleared = self._report(judge=failure is None and not self._config.execute)
            if self._viewer is not None:
                say(self._viewer.words)
        if failure is not None:
            raise failure
        if self._signals.received:
            return 128 + self._signals.received
        return 0 if cleared else EXIT_NOT_CLEARED

    def _clock_in(self) -> None:
        """Take down the time of the start, on both clocks."""
        self._started_ns = self._ended_ns = monotonic_ns()
        self._started_utc = datetime.now(timezone.utc).isoformat(timespec="milliseconds")

    def _record_again(self, ending: str = "") -> None:
        """Write them with what became known since; a disk that is full by now ends no run."""
        try:
            self._record(ending)
        except OSError as error:
            say(f"the manifest could not be written again and the run goes on: {error.strerror}")

    def _record(self, ending: str = "") -> None:
        """Write the configuration and the manifest."""
        self._folder.write_config(self._config)
        self._folder.write_manifest(
            manifest_of(
                self._config,
                self._supervisor.settings,
                self._supervisor.pids,
                started_utc=self._started_utc,
                started_ns=self._started_ns,
                ending=ending,
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
            self._states = states
            self._screen.open()
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
                self._screen.close()

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
            f"{self._screen.title}: the arm {name!r} is about to move. {way} Keep the enabling "
            "device in your hand.",
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
        self._look_at_arm()
        self._screen.show(now_ns)
        time.sleep(TURN_S)
        return not self._signals.received

    def _obey(self, pressed: str) -> None:
        """Do what a key of the terminal asks for; a hold goes before anything else."""
        session = self._supervisor.settings.session
        if HOLD in pressed:
            self._supervisor.hold("asked by a key")
        elif RESUME in pressed:
            self._supervisor.ask_arm(ResumeRequest(session=session, sequence=0))

    def _look_at_arm(self) -> None:
        """Look whether the arm is in order; a run does not go on without its arm.

        Raises:
            RobotFault: it reports a fault.
        """
        state = self._states.newest() if self._states is not None else None
        if state is not None and state.mode == "fault":
            raise RobotFault(
                f"the arm is in fault and moves no more: {state.reason}",
                next_command="read the events of note in the run's report",
            )

    def _report(self, *, judge: bool) -> bool:
        """Report; returns whether nothing keeps the arm from moving, where that is judged."""
        bound_s = 0.0
        if self._arm is not None and self._arm.offset is not SAME_CLOCK:
            bound_s = self._arm.offset.bound_before_next(monotonic_ns()) / NS_PER_S
        setup = self._setup if judge else None
        widened = self._arm.widened if self._arm is not None else {}
        words = self._supervisor.words
        return report_run(
            self._config, self._folder, setup, words, bound_s, widened, self._ended_ns
        )


def words_of(error: BaseException) -> str:
    """Return what an error says; one that nobody foresaw, with its kind."""
    return str(error) if isinstance(error, DvlaError) else f"{type(error).__name__}: {error}"


def run_loop(config: RunConfig, robot: Robot) -> int:
    """Run a checked configuration and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return Run(config, robot).main()
    finally:
        settle()
