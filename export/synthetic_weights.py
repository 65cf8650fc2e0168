"""Deterministic synthetic weights: every value is a function of its tensor's name, on any platform.

The stream is PCG64 seeded by the name's SHA-256; the map to a value is exact in float64 and rounded
to float32 once. Offsets and scales are chosen so that activations stay finite through all layers
and every part of the model moves its output.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SQRT3 = math.sqrt(3.0)
BLOCK = 1 << 18
"""Values made at a time, so that the float64 intermediates stay in the cache."""


class Rule(NamedTuple):
    """A value is ``offset + scale * z``, plus 1 at a convolution's centre where ``centre_tap``."""

    offset: float
    scale: float
    centre_tap: bool = False


def unit_noise(name: str, count: int) -> NDArray[np.float64]:
    """Return (count,) values of zero mean and unit variance, uniform in [-sqrt 3, sqrt 3)."""
    bits = np.random.PCG64(_seed(name)).random_raw(count)
    return _to_unit(np.asarray(bits))


def synthetic_tensor(
    name: str, shape: tuple[int, ...], integer: bool = False
) -> NDArray[np.float32] | NDArray[np.int64]:
    """Return the tensor that a name and a shape imply."""
    if integer:
        return np.zeros(shape, np.int64)
    offset, scale, centre_tap = _rule(name, shape)
    # The normaliser and its inverse hold the statistics of one dataset.
    generator = np.random.PCG64(_seed(name.replace("unnormalize_outputs.", "normalize_targets.")))
    flat = np.empty(math.prod(shape), np.float32)
    centre = math.prod(shape[-2:]) // 2 if centre_tap else 0
    period = math.prod(shape[-2:]) if centre_tap else 0
    for start in range(0, flat.size, BLOCK):
        values = _to_unit(np.asarray(generator.random_raw(min(BLOCK, flat.size - start))))
        values *= scale
        values += offset
        if centre_tap:
            values[(centre - start) % period :: period] += 1.0
        flat[start : start + values.size] = values
    return flat.reshape(shape)


def synthetic_tensors(
    shapes: Mapping[str, tuple[tuple[int, ...], bool]],
) -> Iterator[tuple[str, NDArray[np.float32] | NDArray[np.int64]]]:
    """Yield every tensor by name; ``shapes`` says (shape, whether it holds integers)."""
    for name, (shape, integer) in shapes.items():
        yield name, synthetic_tensor(name, shape, integer)


def synthetic_image(name: str, height: int, width: int, cell: int = 24) -> NDArray[np.uint8]:
    """Return an image (height, width, 3) of coloured cells [pixel] with five bits of noise."""
    rows, columns = -(-height // cell), -(-width // cell)
    colours = np.asarray(np.random.PCG64(_seed(name + "/cells")).random_raw(rows * columns * 3))
    cells = (colours >> np.uint64(56)).astype(np.int64).reshape(rows, columns, 3)
    image = cells.repeat(cell, 0).repeat(cell, 1)[:height, :width]
    grain = np.asarray(np.random.PCG64(_seed(name + "/noise")).random_raw(height * width * 3))
    noise = (grain >> np.uint64(59)).astype(np.int64).reshape(height, width, 3)
    return ((image * 7) // 8 + noise).astype(np.uint8)


def _seed(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _to_unit(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    values = (bits >> np.uint64(40)).astype(np.float64)
    values *= 2.0**-23
    values -= 1.0
    values *= SQRT3
    return values


def _rule(name: str, shape: tuple[int, ...]) -> Rule:
    """Return how a tensor's values are spread, by what the tensor is for."""
    leaf = name.rsplit(".", 1)[-1]
    by_leaf = {
        "running_var": Rule(1.0, 0.25),
        "running_mean": Rule(0.0, 0.1),
        "layer_scale": Rule(0.25, 0.05),
        "layer_scale_1": Rule(0.25, 0.05),
        "layer_scale_2": Rule(0.25, 0.05),
    }
    if name.startswith(("normalize_", "unnormalize_")):
        return Rule(1.0, 0.25) if leaf == "std" else Rule(0.0, 0.25)
    if leaf in by_leaf:
        return by_leaf[leaf]
    if "layernorm" in name or ".norm." in name or ".bn." in name:
        return Rule(1.0, 0.1) if leaf == "weight" else Rule(0.0, 0.1)
    if leaf == "bias":
        return Rule(0.0, 0.005 if "connector" in name else 0.05)
    if "embed_tokens" in name:
        return Rule(0.0, 0.05)
    spread = 1.0 / math.sqrt(math.prod(shape[1:]))  # keeps the variance of what flows through
    return _vision_rule(name, spread) if "vision_model" in name else _text_rule(name, spread)


def _vision_rule(name: str, spread: float) -> Rule:
    parts = name.split(".")
    is_position = parts[-2] == "reparam_conv" and parts[-4] == "layers"
    if ".token_mixer.reparam_conv" in name or is_position:
        return Rule(0.0, 0.3 * spread, centre_tap=True)  # near the identity, as trained ones are
    if ".se." in name:
        return Rule(0.0, 2.0 * spread)
    if ".convffn." in name or ".token_mixer.proj." in name:
        return Rule(0.0, spread)
    return Rule(0.0, 1.5 * spread)


def _text_rule(name: str, spread: float) -> Rule:
    if "connector.2." in name:
        return Rule(0.0, 0.1 * spread)  # the model multiplies by sqrt(hidden) afterwards
    if "connector.0." in name:
        return Rule(0.0, 0.3 * spread)
    sharp = (".q_proj.", ".k_proj.", ".o_proj.", ".down_proj.")
    return Rule(0.0, (1.5 if any(part in name for part in sharp) else 1.0) * spread)
