"""The training loop: batches in, an averaged policy out, resumable at every save."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.export.arch import Arch
from dvla.export.model.policy import DynamicVla
from dvla.export.torch_ import Tensor, torch
from dvla.training.checkpoints import load_state, save_state, write_checkpoint
from dvla.training.closed_loop import PlayOptions, play
from dvla.training.dense_vision import embed_images
from dvla.training.flow_loss import flow_loss
from dvla.training.helpers import Helpers
from dvla.training.parallel import Group
from dvla.training.sampler import Sampler
from dvla.training.validate import held_out_error


class TrainOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a policy is trained.

    Attributes:
        steps: optimiser steps in all.
        batch: samples per forward pass; ``accumulate`` passes make a step.
        draws: of noise and flow time per sample.
        lr: learning rate after ``warm_up`` steps; it falls to a hundredth over the last
            ``decay`` of the steps.
        weight_decay: of all matrices.
        ema: decay of the average that is written out.
        object_weight / spot_weight: of the helpers' losses.
        see_first: steps at the start that train the encoder by the helpers alone, which is twice as
            fast and lets the rest begin with an encoder that sees the object.
        freeze_backbone: train the expert and the projections alone.
        compile: let torch compile encoder, language model and expert.
        bf16: multiply matrices in bfloat16; weights, losses, gradients and their averages stay
            float32.
        save_every: steps between saves, with the held-out error.
        held_out: samples of the held-out error.
        refresh_every: steps between looks for new episodes.
        seed: of weights and draws.
    """

    steps: int = 6000
    batch: int = 64
    accumulate: int = 1
    draws: int = 4
    lr: float = 1e-3
    warm_up: int = 200
    decay: float = 0.3
    weight_decay: float = 1e-4
    ema: float = 0.998
    object_weight: float = 1.0
    spot_weight: float = 1.0
    see_first: int = 0
    freeze_backbone: bool = False
    compile: bool = False
    bf16: bool = False
    save_every: int = 500
    held_out: int = 128
    refresh_every: int = 100
    seed: int = 0


class Curve(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the training curve.

    Attributes:
        flow / object / spot: mean losses since the last line.
        object_error_m / object_error_m_s: of what the helpers read, held out: mean, and median.
        error_m: held-out error of sampled positions, averaged over the chunk [m].
        first_error_m: the same over its first five actions [m].
        gripper_accuracy: share of held-out gripper decisions that are the expert's.
        samples_per_s: seen since the last line.
        successes: of ``trials`` episodes in closed loop; None where none were played.
    """

    step: int
    flow: float
    object: float
    spot: float
    object_error_m: float
    object_error_m_s: float
    error_m: float
    first_error_m: float
    gripper_accuracy: float
    lr: float
    episodes: int
    samples_per_s: float
    successes: int | None = None
    trials: int = 0


class Trainer:
    """Trains one policy.

    Args:
        policy: with its normalisation set.
        helpers: of the encoder.
        config: plain data of ``config.json``, written out with every checkpoint.
        arch: dims of the policy.
        options: how.
        folder: where checkpoints go.
        group: of the processes that train it together.
        play: which episodes are played in closed loop, and how often.
        robot: whose twin plays them.
    """

    def __init__(
        self,
        policy: DynamicVla,
        helpers: Helpers,
        config: dict[str, Any],
        arch: Arch,
        options: TrainOptions,
        folder: Path,
        group: Group,
        play: PlayOptions | None = None,
        robot: str = "franka",
    ) -> None:
        self._play, self._robot = play or PlayOptions(), robot
        self._policy = policy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._helpers, self._config, self._arch = helpers, config, arch
        self._options, self._folder, self._group = options, folder, group
        if options.freeze_backbone:
            policy.model.vlm_with_expert.vlm.requires_grad_(False)
        if options.compile:
            vision = policy.vlm.vision_model
            vision.stages = torch.compile(vision.stages, dynamic=False)  # type: ignore[method-assign]
            policy.vlm.text_model.compile(dynamic=False)
            policy.model.vlm_with_expert.lm_expert.compile(dynamic=False)
        self._parameters = [
            p for p in (*policy.parameters(), *helpers.parameters()) if p.requires_grad
        ]
        matrices = [p for p in self._parameters if p.ndim > 1]
        rest = [p for p in self._parameters if p.ndim <= 1]
        self._optimiser = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": options.weight_decay},
                {"params": rest, "weight_decay": 0.0},
            ],
            lr=options.lr,
            betas=(0.9, 0.98),
            fused=True,
        )
        self._average = {name: t.detach().clone() for name, t in policy.state_dict().items()}
        self._generator = torch.Generator().manual_seed(options.seed + group.rank)
        self.step = 0

    def run(self, sampler: Sampler, held_out: Sampler, report: Callable[[Curve], None]) -> None:
        """Train to the last step, saving on the way.

        Args:
            sampler: of training batches.
            held_out: of batches that are never trained on.
            report: called with each line of the curve.
        """
        options = self._options
        sums, since, started_s = np.zeros(3), 0, time.perf_counter()
        while self.step < options.steps:
            if self.step % options.refresh_every == 0:
                sampler.refresh()
            sums += self._step(sampler)
            since += 1
            last = self.step == options.steps
            plays = self._play.every > 0 and (last or self.step % self._play.every == 0)
            if self._group.leads and (last or plays or self.step % options.save_every == 0):
                elapsed_s = time.perf_counter() - started_s
                rate = since * options.batch * options.accumulate * self._group.size / elapsed_s
                self.save(sampler)
                curve = self._curve(sums / since, sampler, held_out, rate)
                report(self._played(curve) if plays else curve)
                sums, since, started_s = np.zeros(3), 0, time.perf_counter()
        self._group.wait()

    def _step(self, sampler: Sampler) -> NDArray[np.float64]:
        """Take one optimiser step; return the losses of flow, state and spot."""
        options = self._options
        self._policy.train()
        total = np.zeros(3)
        for _ in range(options.accumulate):
            batch = sampler.batch(options.batch)
            with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=options.bf16):
                seen = embed_images(self._policy, batch.images)
                known = self._policy.normalized_state(batch.state[:, None])
                state, spot = self._helpers.losses(seen, known, batch.object_state, batch.spots)
                loss = options.object_weight * state + options.spot_weight * spot
                if self.step >= options.see_first:
                    flow = flow_loss(
                        self._policy, seen.tokens, batch, options.draws, self._generator
                    )
                    total[0] += flow.item()
                    loss = loss + flow
            total[1:] += state.item(), spot.item()
            (loss / options.accumulate).backward()  # type: ignore[no-untyped-call]
        self._group.average_gradients(self._parameters)
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for group in self._optimiser.param_groups:
            group["lr"] = self.learning_rate()
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self._update_average()
        return total / options.accumulate

    def learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        options = self._options
        warm = min(1.0, (self.step + 1) / max(1, options.warm_up))
        left = (options.steps - self.step) / max(1.0, options.decay * options.steps)
        fall = 0.01 + 0.99 * 0.5 * (1 - math.cos(math.pi * min(1.0, left)))
        return options.lr * warm * fall

    def _update_average(self) -> None:
        """Move the average towards the weights; early on it forgets faster."""
        decay = min(self._options.ema, (1 + self.step) / (10 + self.step))
        for name, tensor in self._policy.state_dict().items():
            if tensor.is_floating_point():
                self._average[name].lerp_(tensor, 1.0 - decay)
            else:
                self._average[name].copy_(tensor)

    def averaged(self) -> DynamicVla:
        """Return a copy of the policy that holds the average, ready for inference."""
        copy = DynamicVla(self._policy.config, self._arch)
        copy.load_state_dict(self._average)
        copy.eval().requires_grad_(False)
        return copy

    def save(self, sampler: Sampler) -> None:
        """Write the averaged policy, and the state to go on from."""
        write_checkpoint(self._folder, self._average, self._config, self._arch)
        state = {
            "step": self.step,
            "policy": self._policy.state_dict(),
            "average": self._average,
            "helpers": self._helpers.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "generator": self._generator.get_state(),
            "draws": sampler.state(),
        }
        save_state(self._folder, state)

    def resume(self, sampler: Sampler) -> None:
        """Go on from the last save, exactly."""
        state = load_state(self._folder)
        self.step = int(state["step"])
        self._policy.load_state_dict(state["policy"])
        self._helpers.load_state_dict(state["helpers"])
        self._optimiser.load_state_dict(state["optimiser"])
        if self._group.leads:
            self._generator.set_state(state["generator"])
            sampler.restore(state["draws"])
        else:  # only the leader's draws are saved; another stretch of its own serves as well
            self._generator.manual_seed((self.step << 8) + self._group.rank)
            sampler.rng = np.random.default_rng((self.step, self._group.rank))
        average: dict[str, Tensor] = state["average"]
        self._average = average

    def _played(self, curve: Curve) -> Curve:
        """Play the policy that was saved, and add to the curve how often it succeeds."""
        successes = play(self._folder, self._robot, self._play)
        return msgspec.structs.replace(curve, successes=successes, trials=self._play.trials)

    def _curve(self, mean: Any, sampler: Sampler, held_out: Sampler, rate: float) -> Curve:
        options = self._options
        error = held_out_error(
            self.averaged(), self._helpers, held_out, options.held_out, options.batch
        )
        return Curve(
            step=self.step,
            flow=round(float(mean[0]), 5),
            object=round(float(mean[1]), 5),
            spot=round(float(mean[2]), 5),
            object_error_m=round(error.object_m, 5),
            object_error_m_s=round(error.object_m_s, 5),
            error_m=round(error.chunk_m, 5),
            first_error_m=round(error.first_m, 5),
            gripper_accuracy=round(error.gripper, 4),
            lr=round(self.learning_rate(), 6),
            episodes=sampler.episodes,
            samples_per_s=round(rate, 1),
        )
