"""What the feedback says is wrong, in words: one function for the arm, one for our hold on it."""

from __future__ import annotations

from dvla.runtime.robots.piper.feedback import NEVER_NS, Feedback
from dvla.runtime.robots.piper.protocol import CONTROL_CAN, MOTOR_ENABLED, MOVE_J, Status
from dvla.runtime.robots.piper.words import (
    GRIPPER_ERRORS,
    MOTOR_ERRORS,
    TARGET_STATES,
    control_words,
    flag_words,
    joint_words,
    move_words,
    state_words,
)

SILENCE_S = {"joints": 0.3, "speeds": 0.3, "status": 0.3, "motors": 1.0, "gripper": 1.0}
"""How long each kind of feedback may be missing; the arm sends them at 200 Hz, motors at 40 Hz.

A reading that is 0.1 s old stops the arm already; this is when the words for it are said."""
_SENT_ON = {
    "joints": "0x2A5 to 0x2A7",
    "speeds": "0x251 to 0x256",
    "status": "0x2A1",
    "motors": "0x261 to 0x266",
    "gripper": "0x2A8",
}


def silence(feedback: Feedback, now_ns: int) -> str:
    """Return which feedback is missing, or an empty string."""
    received_ns = {
        "joints": feedback.joints_ns,
        "speeds": feedback.speeds_ns,
        "status": feedback.status_ns,
        "motors": feedback.motors_ns,
        "gripper": feedback.gripper_ns,
    }
    for name, limit_s in SILENCE_S.items():
        t_ns = received_ns[name]
        if t_ns != NEVER_NS and now_ns - max(t_ns, feedback.woke_ns) <= limit_s * 1e9:
            continue
        if feedback.leader_seen and feedback.status is None:
            return "the arm is configured as a leader (it sends on 0x3A1 to 0x3A8)"
        since = "yet" if t_ns == NEVER_NS else f"for {(now_ns - t_ns) * 1e-9:.1f} s"
        return f"no feedback of the {name} {since} ({_SENT_ON[name]})"
    return ""


def trouble(feedback: Feedback, *, target_states_count: bool = True) -> str:
    """Return what the arm reports to be wrong with itself, or an empty string.

    Args:
        feedback: not silent.
        target_states_count: whether a state that speaks of a target alone is wrong.
    """
    status = feedback.status
    assert status is not None
    if status.state and (target_states_count or status.state not in TARGET_STATES):
        joints = joint_words(status.beyond_limits)
        return state_words(status.state) + (f": {joints}" if joints else "")
    if status.unreachable:
        return f"no communication with {joint_words(status.unreachable)}"
    for index, flags in enumerate(feedback.motor_flags):
        errors = flag_words(flags, MOTOR_ERRORS)
        if errors:
            return f"motor {index + 1}: {errors}"
    gripper = feedback.gripper
    if gripper is not None and (errors := flag_words(gripper.flags, GRIPPER_ERRORS)):
        return f"gripper: {errors}"
    return ""


def grip_lost(feedback: Feedback) -> str:
    """Return why the arm does not follow our targets, or an empty string when it does."""
    if not follows(feedback.status):
        return f"the arm is in {mode_words(feedback.status)}, not in CAN control by MOVE J"
    disabled = disabled_joints(feedback)
    return f"disabled: {joint_words(disabled)}" if disabled else ""


def follows(status: Status | None) -> bool:
    """Return whether the arm takes joint targets from the bus."""
    return status is not None and status.control == CONTROL_CAN and status.move == MOVE_J


def mode_words(status: Status | None) -> str:
    """Return who commands the arm, and how, as far as it is known."""
    if status is None:
        return "an unknown mode"
    if status.control != CONTROL_CAN:
        return control_words(status.control)
    return f"{control_words(status.control)} by {move_words(status.move)}"


def disabled_joints(feedback: Feedback) -> int:
    """Return the joints whose motors are disabled, as bits."""
    return sum(
        1 << index for index, flags in enumerate(feedback.motor_flags) if not flags & MOTOR_ENABLED
    )
