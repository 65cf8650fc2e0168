"""Errors of cameras: not there, not as declared, or gone in the middle of a run."""

from __future__ import annotations

from dvla.engines.errors import DvlaError


class CameraError(DvlaError):
    """A camera was named that does not exist, or one that does not deliver what is wanted."""


class CameraFault(DvlaError):
    """A camera stopped delivering frames during a run."""

    exit_code = 1


class CameraMissing(DvlaError):
    """The library or the device of a camera is not there."""

    exit_code = 3
