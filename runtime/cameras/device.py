"""Cameras that are devices: a thread waits for frames, so that nothing else does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from dvla.engines.errors import DvlaError
from dvla.runtime.cameras.base import CameraFrame, less
from dvla.runtime.cameras.errors import CameraError, CameraFault
from dvla.runtime.cameras.fit import FrameFit
from dvla.runtime.cameras.frame_ring import FrameShape
from dvla.runtime.cameras.spec import CameraSpec

FIRST_FRAME_S = 5.0
SILENT_NS = 2_000_000_000


class Grabber(Protocol):
    """A driver: blocks until the next frame; called from one thread."""

    @property
    def stamps(self) -> str:
        """Where the capture times come from, for people."""

    @property
    def implausible(self) -> int:
        """Frames whose own time stamp could not be true, and that are dated by their arrival."""

    def grab(self) -> CameraFrame | None:
        """Return the next frame; None when none came in time.

        Raises:
            CameraFault: it delivers no more.
        """

    def close(self) -> None:
        """Let go of the device."""


class DeviceCamera:
    """A ``Camera`` over a grabber; keeps the newest frame and counts the ones it overtook.

    Args:
        name: for people.
        spec: what was asked for.
        wanted: size that the policy takes.
        grabber: of the driver.
        now_ns: clock of the host.
        first_frame_s: how long the first frame may take.

    Raises:
        CameraError: no frame came, or frames of a size that the declared fit does not bring to the
            policy's.
    """

    def __init__(
        self,
        name: str,
        spec: CameraSpec,
        wanted: FrameShape,
        grabber: Grabber,
        now_ns: Callable[[], int],
        first_frame_s: float = FIRST_FRAME_S,
    ) -> None:
        self._name, self._spec, self._grabber, self._now_ns = name, spec, grabber, now_ns
        self._latency_ns = round(spec.latency_s * 1e9)
        self._lock = threading.Lock()
        self._newest: CameraFrame | None = None
        self._failure: DvlaError | None = None
        self._dropped, self._last_ns, self._heard_ns = 0, 0, now_ns()
        self._closing, self._first = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop, name=f"camera-{name}", daemon=True)
        self._thread.start()
        self._first.wait(first_frame_s)
        try:
            frame = self._first_frame()
            if frame is None:
                raise CameraError(
                    f"{name} delivered no frame in {first_frame_s:g} s",
                    next_command="check its cable, and that no other program uses it",
                )
            height, width = frame.image_hwc.shape[:2]
            self._fit = FrameFit(FrameShape(height=height, width=width), wanted, spec.fit, name)
        except DvlaError:
            self.close()
            raise
        self.description = (
            f"{name}: {width}x{height}"
            + self._fit.words
            + f", times from {grabber.stamps}"
            + less(spec.latency_s)
        )

    def _first_frame(self) -> CameraFrame | None:
        """Return the newest frame, or raise what the driver has raised."""
        if self._failure is not None:
            raise self._failure
        return self._newest

    @property
    def dropped(self) -> int:
        """Frames that a newer one overtook, or that came out of order."""
        return self._dropped

    @property
    def implausible(self) -> int:
        """Frames whose own time stamp could not be true, and that are dated by their arrival."""
        return self._grabber.implausible

    def read(self, now_ns: int) -> CameraFrame | None:
        """Return the newest frame not handed out yet, or None.

        Raises:
            CameraFault: the device failed, or has been silent for two seconds.
        """
        with self._lock:
            frame, self._newest = self._newest, None
        if self._failure is not None:
            raise self._failure
        if frame is None:
            if now_ns - self._heard_ns > SILENT_NS:
                raise CameraFault(
                    f"{self._name} has delivered no frame for {SILENT_NS / 1e9:g} s",
                    next_command="check its cable and its power",
                )
            return None
        t_ns = frame.t_ns - self._latency_ns
        if t_ns <= self._last_ns:
            self._dropped += 1
            return None
        self._last_ns = t_ns
        return CameraFrame(image_hwc=self._fit(frame.image_hwc), t_ns=t_ns)

    def close(self) -> None:
        """Let go of the device; twice is once."""
        if not self._closing.is_set():
            self._closing.set()
            self._thread.join(2.0)
            self._grabber.close()

    def _loop(self) -> None:
        """Grab until told to stop."""
        while not self._closing.is_set():
            try:
                frame = self._grabber.grab()
            except DvlaError as error:
                self._failure = error
                self._first.set()
                return
            except Exception as error:  # a driver's own exceptions are as many as drivers
                self._failure = CameraFault(
                    f"{self._name} failed", got=f"{type(error).__name__}: {error}"
                )
                self._first.set()
                return
            if frame is None:
                continue
            with self._lock:
                self._dropped += self._newest is not None
                self._newest = frame
                self._heard_ns = self._now_ns()
            self._first.set()
