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

from dvla.engines.errors import CheckpointError, DvlaError
from dvla.export.arch import Arch
from dvla.export.model.policy import DynamicVla
from dvla.export.torch_ import Tensor, torch
from dvla.training.checkpoints import load_state, save_state, write_checkpoint
from dvla.training.closed_loop import PlayOptions, play
from dvla.training.dense_vision import embed_images
from dvla.training.flow_loss import flow_loss, read_prefix
from dvla.training.helpers import HelperLosses, Helpers, TextLosses, truth_of, words_of
from dvla.training.muon import Muon, feature_matrices
from dvla.training.options import Curve, TrainOptions
from dvla.training.parallel import Group
from dvla.training.sampler import Sampler
from dvla.training.validate import held_out_error

_LOSSES = 1 + len(HelperLosses._fields) + len(TextLosses._fields)


class Diverged(DvlaError):
    """A training's losses are no numbers any more."""

    exit_code = 1


class Trainer:
    """Trains one policy.

    Args:
        policy: with its normalisation set.
        helpers: of its encoder and its language model.
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
        self._optimisers = self._make_optimisers()
        self._average = {name: t.detach().clone() for name, t in policy.state_dict().items()}
        self._generator = torch.Generator().manual_seed(options.seed + group.rank)
        self.step = 0

    def _make_optimisers(self) -> list[torch.optim.Optimizer]:
        """Return AdamW for all parameters, or for those that Muon does not train."""
        options, vlm = self._options, self._policy.vlm
        reading = vlm.vision_model, vlm.connector, vlm.text_model.layers, self._helpers
        by_muon = feature_matrices(*(reading if options.muon else ()))
        taken = {id(p) for p in by_muon}
        left = [p for p in self._parameters if id(p) not in taken]
        adam = torch.optim.AdamW(
            [
                {"params": [p for p in left if p.ndim > 1], "weight_decay": options.weight_decay},
                {"params": [p for p in left if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=options.lr,
            betas=(0.9, 0.98),
            fused=True,
        )
        return [adam, Muon(by_muon, options.lr)] if by_muon else [adam]

    def run(self, sampler: Sampler, held_out: Sampler, report: Callable[[Curve], None]) -> None:
        """Train to the last step, saving on the way.

        Args:
            sampler: of training batches.
            held_out: of batches that are never trained on.
            report: called with each line of the curve.

        Raises:
            Diverged: a loss is no number; nothing is saved after that.
        """
        options = self._options
        sums, since, started_s = np.zeros(_LOSSES), 0, time.perf_counter()
        while self.step < options.steps:
            if self.step % options.refresh_every == 0:
                sampler.refresh()
            sums += self._step(sampler)
            since += 1
            if not np.isfinite(sums).all():
                raise Diverged(
                    f"The training has diverged at step {self.step}: its losses are no numbers",
                    next_command="a smaller --lr; what was saved before is as it was",
                )
            last = self.step == options.steps
            plays = self._play.every > 0 and (last or self.step % self._play.every == 0)
            if self._group.leads and (last or plays or self.step % options.save_every == 0):
                elapsed_s = time.perf_counter() - started_s
                rate = since * options.batch * options.accumulate * self._group.size / elapsed_s
                self.save(sampler)
                curve = self._curve(sums / since, sampler, held_out, rate)
                report(self._played(curve) if plays else curve)
                sums, since, started_s = np.zeros(_LOSSES), 0, time.perf_counter()
        self._group.wait()

    def _step(self, sampler: Sampler) -> NDArray[np.float64]:
        """Take one optimiser step; return its losses: the flow's, the three and three helpers'."""
        options = self._options
        self._policy.train()
        total = np.zeros(_LOSSES)
        for _ in range(options.accumulate):
            batch = sampler.batch(options.batch)
            with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=options.bf16):
                seen = embed_images(self._policy, batch.images)
                known = self._policy.normalized_state(batch.state[:, None])
                words = words_of(self._policy, batch)
                truth = truth_of(batch)
                helped = self._helpers.losses(seen, known, words, truth)
                loss = options.object_weight * helped.state + options.spot_weight * helped.spot
                loss = loss + options.place_weight * helped.place
                if self.step >= options.see_first:
                    prefix = read_prefix(self._policy, seen.tokens, batch)
                    flow = flow_loss(self._policy, prefix, batch, options.draws, self._generator)
                    text = self._helpers.text_losses(prefix[0], seen, truth)
                    total[0] += flow.item()
                    total[4:] += [each.item() for each in text]
                    loss = loss + flow + options.object_weight * (text.told + text.container)
                    loss = loss + options.spot_weight * text.marked
            total[1:4] += [each.item() for each in helped]
            (loss / options.accumulate).backward()  # type: ignore[no-untyped-call]
        self._group.average_gradients(self._parameters)
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for optimiser, times in zip(self._optimisers, (1.0, options.muon), strict=False):
            for group in optimiser.param_groups:
                group["lr"] = times * self.learning_rate()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
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
        """Write the state to go on from, then the averaged policy: the state makes both again."""
        state = {
            "step": self.step,
            "policy": self._policy.state_dict(),
            "average": self._average,
            "helpers": self._helpers.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
            "generator": self._generator.get_state(),
            "draws": sampler.state(),
        }
        save_state(self._folder, state)
        write_checkpoint(self._folder, self._average, self._config, self._arch)

    def resume(self, sampler: Sampler) -> None:
        """Go on from the last save, exactly."""
        state = load_state(self._folder)
        try:
            self._policy.load_state_dict(state["policy"])
            self._helpers.load_state_dict(state["helpers"])
            for optimiser, saved in zip(self._optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(saved)
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"Training cannot go on from what {self._folder} holds",
                got=str(error).splitlines()[0][:200],
                expected="a training with the same options, saved by this version",
                next_command="begin another from its weights: --init, and a new --out",
            ) from error
        self.step = int(state["step"])
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
            place=round(float(mean[3]), 5),
            told=round(float(mean[4]), 5),
            marked=round(float(mean[5]), 5),
            container=round(float(mean[6]), 5),
            object_error_m=round(error.object_m, 5),
            object_error_m_s=round(error.object_m_s, 5),
            meant=round(error.meant, 4),
            container_error_m=round(error.container_m, 5),
            error_m=round(error.chunk_m, 5),
            first_error_m=round(error.first_m, 5),
            gripper_accuracy=round(error.gripper, 4),
            lr=round(self.learning_rate(), 6),
            episodes=sampler.episodes,
            samples_per_s=round(rate, 1),
        )
