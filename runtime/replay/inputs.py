"""The settings under which scheduler, servo and gate ran: what a replay is the replay of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvla.runtime.config import SchedulerConfig, ServoConfig
from dvla.runtime.limits import ArmLimits
from dvla.runtime.overrides import SafetyOverride
from dvla.runtime.run_folder import RunFolder, RunFolderError
from dvla.runtime.safety import REASONS

if TYPE_CHECKING:
    from dvla.runtime.processes.settings import Settings

SCHEMA = 1


class RunInputs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the deciding classes of a run were made with.

    Attributes:
        session: of the run on the wire.
        control_period_ns: T.
        limits: of the arm, as the gate enforced them.
        start_pose: of the slow move before the policy; empty without one.
        overrides: of the limits, for the start of the run.
        reasons: names of the verdicts in ``calls.npy``, by number.
    """

    session: int
    robot: str
    scheduler: SchedulerConfig
    servo: ServoConfig
    limits: ArmLimits
    chunk_size: int
    control_period_ns: int
    reasons: tuple[str, ...] = REASONS
    start_pose: tuple[float, ...] = ()
    overrides: tuple[SafetyOverride, ...] = ()
    schema: int = SCHEMA

    @staticmethod
    def of(settings: Settings) -> RunInputs:
        """Return the inputs of a run from the settings of its processes."""
        return RunInputs(
            session=settings.session,
            robot=settings.robot,
            scheduler=settings.scheduler,
            servo=settings.servo,
            limits=settings.limits,
            chunk_size=settings.chunk_size,
            control_period_ns=round(settings.control_period_s * 1e9),
            start_pose=settings.start_pose,
            overrides=settings.overrides,
        )


def read_inputs(folder: RunFolder) -> RunInputs:
    """Return the inputs of a recorded run.

    Raises:
        RunFolderError: it was recorded before runs could be replayed, or the file is damaged.
    """
    try:
        return msgspec.json.decode(folder.inputs.read_bytes(), type=RunInputs)
    except FileNotFoundError as error:
        raise RunFolderError(
            f"{folder.path} was recorded without what a replay needs",
            got=f"no {folder.inputs.name}",
            expected="a run of this version of dvla-run; dvla-report still reads the older one",
            next_command="dvla-run --robot franka --sim --policy oracle, then replay that",
        ) from error
    except msgspec.MsgspecError as error:
        raise RunFolderError(
            f"{folder.inputs} is damaged or of another version",
            got=str(error),
            expected=f"inputs of schema {SCHEMA}",
        ) from error
