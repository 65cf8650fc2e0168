"""TensorRT, loaded on first use: proper, or TensorRT-RTX, which serves for compile checks only."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import msgspec

PROPER, RTX = "tensorrt", "tensorrt_rtx"
_MAJOR_ATTRIBUTE, _MINOR_ATTRIBUTE = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


@cache
def library() -> ModuleType:
    """Return TensorRT, or TensorRT-RTX where only that is installed.

    Raises:
        ModuleNotFoundError: neither is.
    """
    try:
        return import_module(PROPER)
    except ModuleNotFoundError:
        return import_module(RTX)


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """The name and the compute capability of a GPU, ``(8, 9)`` for 8.9."""

    name: str
    capability: tuple[int, int]


@cache
def gpu() -> Gpu | None:
    """Return the first GPU; nothing where there is no driver, no device or no cuda-bindings."""
    try:
        driver = import_module("cuda.bindings.driver")
        # TensorRT's objects are null, and crash the process, where CUDA was not initialised.
        _checked(driver.cuInit(0))
        (device,) = _checked(driver.cuDeviceGet(0))
        (name,) = _checked(driver.cuDeviceGetName(128, device))
        attributes = driver.CUdevice_attribute
        major, minor = (
            _checked(driver.cuDeviceGetAttribute(attributes(which), device))[0]
            for which in (_MAJOR_ATTRIBUTE, _MINOR_ATTRIBUTE)
        )
    except Exception:  # A missing driver raises an error of the loader's own.
        return None
    text = name.split(b"\0")[0].decode() if isinstance(name, bytes) else str(name)
    return Gpu(name=text, capability=(int(major), int(minor)))


def can_run() -> bool:
    """Whether engines can be executed here: TensorRT proper, and a GPU."""
    try:
        return library().__name__ == PROPER and gpu() is not None
    except ModuleNotFoundError:
        return False


def _checked(result: Any) -> list[Any]:
    """Return what a driver call gave beside its status."""
    status, *values = list(result)
    if int(status) != 0:
        raise RuntimeError(f"CUDA status {status}")
    return values
