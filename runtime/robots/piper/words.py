"""What the PiPER's codes mean, in words."""

from __future__ import annotations

CONTROL_MODES = {
    0x00: "standby",
    0x01: "CAN control",
    0x02: "teaching",
    0x03: "Ethernet control",
    0x04: "Wi-Fi control",
    0x05: "remote control",
    0x06: "linked teaching",
    0x07: "offline trajectory",
}
MOVE_MODES = {
    0x00: "MOVE P",
    0x01: "MOVE J",
    0x02: "MOVE L",
    0x03: "MOVE C",
    0x04: "MOVE M",
    0x05: "MOVE CPV",
}
ARM_STATES = {
    0x01: "emergency stop",
    0x02: "no solution for the target",
    0x03: "singularity",
    0x04: "a target angle exceeds the joint's limit",
    0x05: "joint communication is lost",
    0x06: "a joint brake is not released",
    0x07: "collision",
    0x08: "too fast while dragged",
    0x09: "a joint reports an error",
    0x0A: "other error",
    0x0B: "recording a taught trajectory",
    0x0C: "executing a taught trajectory",
    0x0D: "paused in a taught trajectory",
    0x0E: "the main controller is too hot",
    0x0F: "the braking resistor is too hot",
}
TARGET_STATES = frozenset({0x02, 0x03, 0x04})
"""States that speak of a target alone: a new target, the present joints, resolves them."""

MOTOR_ERRORS = {
    0: "supply voltage too low",
    1: "motor too hot",
    2: "driver over-current",
    3: "driver too hot",
    4: "collision protection",
    5: "driver error",
    7: "stall protection",
}
GRIPPER_ERRORS = {
    0: "supply voltage too low",
    1: "motor too hot",
    3: "driver too hot",
    4: "sensor error",
    5: "driver error",
}
"""Bit 2, over-current, is left out: a gripper that holds an object may well report it."""


def control_words(code: int) -> str:
    """Return who commands the arm."""
    return CONTROL_MODES.get(code, f"unknown control mode 0x{code:02X}")


def move_words(code: int) -> str:
    """Return how targets are approached."""
    return MOVE_MODES.get(code, f"unknown move mode 0x{code:02X}")


def state_words(code: int) -> str:
    """Return what is wrong, with the code that the maker's manual lists; empty when normal."""
    if code == 0:
        return ""
    return f"{ARM_STATES.get(code, 'unknown state')} (0x{code:02X})"


def flag_words(flags: int, errors: dict[int, str]) -> str:
    """Return the errors whose bits are set, joined; empty when there is none."""
    return ", ".join(text for bit, text in errors.items() if flags >> bit & 1)


def joint_words(bits: int) -> str:
    """Return the joints whose bits are set: ``joint 2, joint 5``."""
    return ", ".join(f"joint {i + 1}" for i in range(6) if bits >> i & 1)
