"""All checks, in the order in which a person reads them."""

from __future__ import annotations

from dvla.runtime.preflight.action_checks import (
    check_acceptance,
    check_first_actions,
    check_normalisation,
)
from dvla.runtime.preflight.camera_checks import check_cameras
from dvla.runtime.preflight.evidence import Evidence
from dvla.runtime.preflight.finding import Finding
from dvla.runtime.preflight.host_checks import (
    check_arm,
    check_arm_limits,
    check_clock,
    check_disk,
    check_engine,
    check_latency,
    check_realtime,
    check_servo,
    check_tokenizer,
)
from dvla.runtime.preflight.state_checks import (
    check_euler_wrap,
    check_seen_where_it_starts,
    check_start_pose,
)


def check_all(evidence: Evidence) -> list[Finding]:
    """Return the findings of every check."""
    return [
        check_arm(evidence),
        check_arm_limits(evidence),
        check_engine(evidence),
        check_tokenizer(evidence),
        check_normalisation(evidence),
        *check_cameras(evidence.cameras),
        check_euler_wrap(evidence),
        check_start_pose(evidence),
        check_seen_where_it_starts(evidence),
        check_first_actions(evidence),
        check_acceptance(evidence),
        check_latency(evidence),
        check_servo(evidence),
        check_realtime(evidence),
        check_clock(evidence),
        check_disk(evidence),
    ]
