"""Parquet tables and JSON files of a dataset."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from dvla.engines.errors import MissingDependency


def import_pyarrow() -> tuple[Any, Any]:
    """Return pyarrow and its parquet module.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "LeRobot datasets are parquet tables, which need pyarrow",
            got=str(error),
            next_command="pip install 'dvla[train]'",
        ) from error


def write_steps(path: Path, columns: dict[str, np.ndarray[Any, Any]]) -> None:
    """Write the steps of some episodes.

    Args:
        path: of the table.
        columns: (n,) or (n, width) each; the latter become lists of fixed length.
    """
    pa, pq = import_pyarrow()
    arrays = {}
    for name, values in columns.items():
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        if values.ndim == 2:
            flat = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        arrays[name] = flat
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays), path)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a table of contents."""
    pa, pq = import_pyarrow()
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_tasks(path: Path, tasks: list[str]) -> None:
    """Write the tasks of version 3.0: a table whose index, as pandas reads it, are the words."""
    pa, pq = import_pyarrow()
    table = pa.table(
        {
            "task_index": pa.array(range(len(tasks)), pa.int64()),
            "__index_level_0__": pa.array(tasks, pa.string()),
        }
    )

    def column(name: str | None, field: str, kind: str, numpy_type: str) -> dict[str, Any]:
        return {
            "name": name,
            "field_name": field,
            "pandas_type": kind,
            "numpy_type": numpy_type,
            "metadata": None,
        }

    pandas = {
        "index_columns": ["__index_level_0__"],
        "column_indexes": [
            {**column(None, "None", "unicode", "object"), "metadata": {"encoding": "UTF-8"}}
        ],
        "columns": [
            column("task_index", "task_index", "int64", "int64"),
            column(None, "__index_level_0__", "unicode", "object"),
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), path)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file, indented."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def write_lines(path: Path, values: list[dict[str, Any]]) -> None:
    """Write a file of one JSON object per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
