"""A run's connection to a controller: whose lease it is that the arm speaks of."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import msgspec
import pytest
import zmq
from wire_doubles import echo, state

from dvla.runtime.addresses import ArmAddresses
from dvla.runtime.arm_connection import ArmConnection
from dvla.runtime.arm_link import ArmLink
from dvla.runtime.clock_board import ClockBoard
from dvla.runtime.clock_offset import MAX_EXECUTE_BOUND_NS, SAME_CLOCK, ClockOffset
from dvla.runtime.errors import LeaseError, RobotFault
from dvla.runtime.messages import LeaseRequest, Reply, Request
from dvla.runtime.wire import StatePublisher
from dvla.runtime.wire_control import ControlServer

SESSION = 7
OPENED_NS = 10**12


class Controller:
    """Grants every request, and says of the lease what it is told to say."""

    def __init__(self, addresses: ArmAddresses, context: zmq.Context) -> None:
        self._server = ControlServer(addresses, context=context)
        self._states = StatePublisher(addresses, context=context)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.asked: list[int] = []
        self.lease_session = 0
        self._thread.start()

    def _serve(self) -> None:
        sequence = 0
        while not self._done.is_set():
            self._server.serve(self._handle, 0)
            sequence += 1
            reported = state(sequence)
            self._states.send(msgspec.structs.replace(reported, lease_session=self.lease_session))
            time.sleep(0.002)

    def _handle(self, request: Request, now_ns: int) -> Reply:
        if isinstance(request, LeaseRequest):
            self.asked.append(request.session)
        return echo(request, now_ns)

    def close(self) -> None:
        self._done.set()
        self._thread.join()
        self._server.close()
        self._states.close()


@pytest.fixture
def controller(addresses: ArmAddresses, context: zmq.Context) -> Iterator[Controller]:
    controller = Controller(addresses, context)
    yield controller
    controller.close()


@pytest.fixture
def connection(controller: Controller) -> Iterator[ArmConnection]:
    link = ArmLink(name="test")
    board = ClockBoard.create()
    connection = ArmConnection(link, SESSION, board, robot="", twin=False)
    connection.open(OPENED_NS)
    yield connection
    connection.close()
    board.ring.close()


def heard(connection: ArmConnection, controller: Controller, lease_session: int) -> None:
    """Let the run hear of a lease, and of nothing else."""
    controller.lease_session = lease_session
    for _ in range(20):
        time.sleep(0.005)
        connection.look(OPENED_NS)


def test_late_news_of_the_trial_lease_is_no_lost_lease(
    controller: Controller, connection: ArmConnection
) -> None:
    (trial,) = controller.asked
    assert trial not in (0, SESSION)
    heard(connection, controller, trial)
    heard(connection, controller, 0)


@pytest.mark.parametrize("next_session", [0, 8])
def test_a_lease_that_was_had_and_is_gone_ends_the_run(
    controller: Controller, connection: ArmConnection, next_session: int
) -> None:
    for _ in range(5):
        heard(connection, controller, SESSION)
    with pytest.raises(LeaseError, match="lost the lease of arm 'test'"):
        for _ in range(50):
            heard(connection, controller, next_session)


def test_an_arm_that_moves_stops_when_its_clock_is_known_no_more(connection: ArmConnection) -> None:
    uncertain = ClockOffset(offset_ns=0, bound_ns=MAX_EXECUTE_BOUND_NS + 1, t_ns=OPENED_NS)
    connection.offset = uncertain
    connection.look(OPENED_NS)
    connection.offset = SAME_CLOCK
    connection.require_for_execute(OPENED_NS)
    connection.look(OPENED_NS)
    connection.offset = uncertain
    with pytest.raises(RobotFault, match=r"not known well enough any more.*5\.0 ms"):
        connection.look(OPENED_NS)
