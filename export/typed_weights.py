"""Weights of ONNX graphs, read from and written to external files one tensor at a time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

_INLINE_BELOW_BYTES = 1024  # Shapes and axes: parsers want to see those in the graph itself.
_ALIGNMENT_BYTES = 4096
_FLOAT = 1


class WeightsReader:
    """The initialisers of a graph by name, mapped from their external file when they are read.

    Args:
        tensors: the graph's initialisers.
        folder: where the external files lie.
    """

    def __init__(self, tensors: Iterable[Any], folder: Path) -> None:
        self._tensors = {tensor.name: _copy(tensor) for tensor in tensors}
        self._folder = folder

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def is_float(self, name: str) -> bool:
        """Whether a weight is float32."""
        return bool(self._tensors[name].data_type == _FLOAT)

    def read(self, name: str) -> NDArray[Any]:
        """Return a weight."""
        from onnx import helper, numpy_helper

        tensor = self._tensors[name]
        place = {entry.key: entry.value for entry in tensor.external_data}
        if not place:
            return np.asarray(numpy_helper.to_array(tensor))
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        shape, offset = tuple(tensor.dims), int(place.get("offset", 0))
        return np.memmap(self._folder / place["location"], dtype, "r", offset, shape)


class WeightsWriter:
    """Initialisers, the large ones appended to one external file.

    Args:
        path: the external file; a context manager closes it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names: set[str] = set()
        self.tensors: list[Any] = []

    def __enter__(self) -> WeightsWriter:
        self._file = self._path.open("wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, name: str, array: NDArray[Any]) -> None:
        """Write a weight under a name that is not taken."""
        from onnx import TensorProto, helper, numpy_helper

        self._names.add(name)
        if array.nbytes < _INLINE_BELOW_BYTES:
            self.tensors.append(numpy_helper.from_array(np.array(array), name))
            return
        self._file.write(b"\0" * (-self._file.tell() % _ALIGNMENT_BYTES))
        tensor = TensorProto(
            name=name,
            dims=array.shape,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            data_location=TensorProto.EXTERNAL,
        )
        offset = self._file.tell()
        place = {"location": self._path.name, "offset": str(offset), "length": str(array.nbytes)}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=value)
        self._file.write(np.ascontiguousarray(array).view(np.uint8).data)
        self.tensors.append(tensor)


def _copy(tensor: Any) -> Any:
    """Return a tensor that stays when the graph's own is removed."""
    copy = type(tensor)()
    copy.CopyFrom(tensor)
    return copy
