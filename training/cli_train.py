"""``dvla-train``: flow-matching training of a policy on recorded episodes."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Literal

import msgspec
import tyro

from dvla.engines.cli_errors import run_main
from dvla.engines.errors import UsageError
from dvla.runtime.twin.scenes.choice import TrainingScenes


def train_command(
    data: tuple[Path, ...],
    out: Path,
    config: Literal["nano", "full"] = "nano",
    weights: tuple[float, ...] = (),
    init: Path | None = None,
    new_encoder: bool = False,
    encoder: Path | None = None,
    resume: bool = False,
    steps: int = 6000,
    batch: int = 64,
    accumulate: int = 1,
    draws: int = 4,
    lr: float = 1e-3,
    ema: float = 0.998,
    muon: float = 0.0,
    see_first: int = 0,
    freeze_backbone: bool = False,
    compile: bool = False,
    bf16: bool = False,
    save_every: int = 500,
    play_every: int = 0,
    play_trials: int = 24,
    play_task: str = "",
    play_scenes: TrainingScenes | None = None,
    play_latency: float = 0.0,
    threads: int | None = None,
    seed: int = 0,
    debug: bool = False,
) -> None:
    """Train a policy; episodes that are added to the folders meanwhile are taken in.

    Args:
        data: folders that dvla-collect wrote, LeRobot datasets among them.
        out: folder of the checkpoint, in the official format, with its curve.
        config: architecture to start from nothing.
        weights: how often a step of each folder of --data is drawn, relative to the others': 3 for
            one draws from it as if it held three times its episodes. All alike when not given.
        init: checkpoint to start from instead.
        new_encoder: of --init keep all but the encoder, which begins anew as that of --config.
        encoder: checkpoint with whose encoder a policy from nothing begins, as far as its layers
            have the same form.
        resume: go on from the last save in --out.
        steps: optimiser steps in all.
        batch: samples per forward pass.
        accumulate: forward passes per step.
        draws: of noise and flow time per sample.
        lr: learning rate.
        ema: decay of the averaged weights that are written.
        muon: train the matrices of encoder and language model by Muon instead of Adam, at so many
            times --lr; for those from nothing, which learn much sooner (1.5 is a good value).
        see_first: steps at the start that teach the encoder alone where the object is, which is
            faster; for a policy from nothing.
        freeze_backbone: train the expert and the projections alone.
        compile: let torch compile the model: a minute at the start, a third faster after it.
        bf16: multiply matrices in bfloat16, with float32 weights; faster where the processor has
            AMX or the GPU has tensor cores.
        save_every: steps between saves.
        play_every: steps between looks at how often the newest save succeeds in closed loop, on
            the twin; never when 0. Training waits meanwhile.
        play_trials: episodes of such a look, on seeds that are kept for validation.
        play_task: what they are about, as --task of dvla-collect.
        play_scenes: their scenes, as --scenes of dvla-collect.
        play_latency: inference latency injected into them [ms].
        threads: of torch; all cores when not given.
        seed: of weights and draws.
        debug: show tracebacks.
    """
    from dvla.export.torch_ import torch
    from dvla.training.closed_loop import PlayOptions
    from dvla.training.options import Curve, TrainOptions
    from dvla.training.session import train

    del debug  # read from the command line where the errors are told
    bounds: tuple[tuple[str, float, bool, str], ...] = (
        ("--steps", steps, steps >= 1, "at least 1"),
        ("--batch", batch, batch >= 1, "at least 1"),
        ("--accumulate", accumulate, accumulate >= 1, "at least 1"),
        ("--draws", draws, draws >= 1, "at least 1"),
        ("--save-every", save_every, save_every >= 1, "at least 1"),
        ("--threads", threads or 0, threads is None or threads >= 1, "at least 1"),
        ("--lr", lr, 0.0 < lr < 1.0, "above 0 and below 1"),
        ("--ema", ema, 0.0 <= ema < 1.0, "0 or more, and below 1"),
        ("--muon", muon, 0.0 <= muon < 100.0, "0 or more, and below 100"),
        ("--see-first", see_first, see_first >= 0, "0 or more"),
        ("--seed", seed, 0 <= seed < 2**32, "0 to 4294967295"),
    )
    for name, value, is_within, expected in bounds:
        if not is_within:
            raise UsageError(f"{name} is out of bounds", got=value, expected=expected)
    play = PlayOptions(
        every=play_every,
        trials=play_trials,
        task=play_task,
        scenes=play_scenes,
        latency_ms=play_latency,
    )
    if new_encoder and init is None:
        raise UsageError(
            "--new-encoder is about a checkpoint whose other parts are kept",
            expected="--init CHECKPOINT beside it",
            next_command="leave it out: without --init all begins anew",
        )
    if encoder is not None and init is not None:
        raise UsageError(
            "--encoder is for a policy from nothing, and --init brings its own",
            next_command="leave one of them out",
        )
    play.check()
    if threads is not None:
        torch.set_num_threads(threads)
    options = TrainOptions(
        steps=steps,
        batch=batch,
        accumulate=accumulate,
        draws=draws,
        lr=lr,
        ema=ema,
        muon=muon,
        see_first=see_first,
        freeze_backbone=freeze_backbone,
        compile=compile,
        bf16=bf16,
        save_every=save_every,
        seed=seed,
    )

    def report(curve: Curve) -> None:
        astray_m = curve.container_error_m
        print(
            f"step {curve.step}  flow {curve.flow:.4f}  object {1e3 * curve.object_error_m:.1f} mm"
            f" {1e3 * curve.object_error_m_s:.0f} mm/s, meant {100 * curve.meant:.0f} %"
            + (f", container {1e3 * astray_m:.0f} mm" if math.isfinite(astray_m) else "")
            + f"  held out {1e3 * curve.error_m:.1f} mm, first {1e3 * curve.first_error_m:.1f} mm,"
            f" gripper {100 * curve.gripper_accuracy:.1f} %"
            f"  {curve.samples_per_s:.0f} samples/s of {curve.episodes} episodes"
            + (f"  caught {curve.successes} of {curve.trials}" if curve.trials else ""),
            flush=True,
        )
        with (out / "curve.jsonl").open("ab") as file:
            file.write(msgspec.json.encode(curve) + b"\n")

    seen = train(
        config, init, data, out, options, resume=resume, report=report, play=play,
        new_encoder=new_encoder, encoder=encoder, weights=weights,
    )  # fmt: skip
    height, width = seen.camera
    print(f"next: dvla-export {out} -o {out}.bundle --camera-size {width}x{height}")


def _body() -> None:
    tyro.cli(train_command, prog="dvla-train")


def main() -> None:
    """Run ``dvla-train``."""
    sys.exit(run_main(_body))


if __name__ == "__main__":
    main()
