"""TensorRT's compiler as a process.

python -m dvla.engines.tensorrt_process REQUEST     (JSON; the answer is JSON on stdout)
"""

from __future__ import annotations

import sys
from pathlib import Path

from dvla.engines.compile_process import Answer, Request, serve

COMMAND = (sys.executable, "-m", "dvla.engines.tensorrt_process")


def build(request: Request) -> Answer:
    """Compile a graph to a plan."""
    from dvla.engines.tensorrt_build import build_plan

    cache = Path(request.timing_cache) if request.timing_cache else None
    plan = build_plan(Path(request.onnx), cache)
    Path(request.plan).write_bytes(plan.content)
    return Answer(layers=plan.layers, size_bytes=plan.content.nbytes)


if __name__ == "__main__":
    serve(build)
