"""The arrays of observations in an ``.npz``: read whatever the file is, and looked through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

_FINITE = ("state", "noise")


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with arrays of observations, what was found, and what was expected."""

    what: str
    got: str
    expected: str


def read_arrays(
    path: Path, names: Iterable[str], optional: Iterable[str] = ()
) -> dict[str, NDArray[Any]]:
    """Return arrays of an ``.npz`` by name; the optional ones where it has them.

    Raises:
        OSError: there is no such file.
        ValueError: it is another file, a damaged one, or lacks an array.
    """
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise TypeError("one array alone, as np.save writes it")
        with archive:
            wanted = [*names, *(name for name in optional if name in archive.files)]
            found = {name: archive[name] for name in wanted if name in archive.files}
    except OSError:
        raise
    except Exception as error:  # the reader's errors are of many classes, few documented
        first_line = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(f"{type(error).__name__}: {first_line[:300]}") from error
    lacking = [name for name in wanted if not isinstance(found.get(name), np.ndarray)]
    if lacking:
        raise ValueError(f"no array {', '.join(lacking)}")
    return found


def find_fault(arrays: Mapping[str, NDArray[Any]], vocab_size: int | None = None) -> Fault | None:
    """Return why no policy can act on these observations; None where it can.

    Args:
        arrays: stacked over the observations, with ``token_ids``, ``token_mask``, ``state`` and
            ``noise`` among them.
        vocab_size: token ids are below this, where it is known.
    """
    counts = {name: (*array.shape, 0)[0] for name, array in arrays.items()}
    if len(set(counts.values())) > 1 or not all(counts.values()):
        listed = ", ".join(f"{name} of {count}" for name, count in counts.items())
        return Fault("the arrays are not of the same observations", listed, "as many in each")
    for name in _FINITE:
        off = int(np.count_nonzero(~np.isfinite(arrays[name].astype(np.float64))))
        if off:
            got = f"{off} of {arrays[name].size} numbers that are not finite"
            return Fault(f"{name} is not finite", got, "finite numbers")
    mask = arrays["token_mask"].astype(np.int8)
    spoilt = int(np.count_nonzero(~mask.any(axis=-1) | (np.diff(mask, axis=-1) > 0).any(axis=-1)))
    if spoilt:
        got = f"{spoilt} of {len(mask)} that have no token, or a gap before one"
        return Fault("not every token_mask is that of a prompt", got, "tokens, then padding")
    ids = arrays["token_ids"]
    if vocab_size is not None and not (0 <= ids.min() and ids.max() < vocab_size):
        got = f"{ids.min()} to {ids.max()}"
        return Fault("token_ids are not of the policy's vocabulary", got, f"0 to {vocab_size - 1}")
    return None
