"""How a training runs, and what it reports as it goes."""

from __future__ import annotations

import msgspec


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
        muon: learning rate of the matrices of encoder and language model by ``Muon``, in those of
            the rest; by Adam, like the rest, where it is 0.
        object_weight / spot_weight / place_weight: of the helpers' losses.
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
    muon: float = 0.0
    object_weight: float = 1.0
    spot_weight: float = 1.0
    place_weight: float = 0.5
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
        flow / object / spot / place / told / marked / container: mean losses since the last line.
        object_error_m / object_error_m_s: of what the helpers read, held out: mean, and median.
        meant: share of held-out samples of which the language model knows the object that is
            asked for to 5 cm; NaN where none of them says where it is.
        container_error_m: mean error of where it says that the container stands [m]; NaN where
            none of them has one.
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
    place: float
    told: float
    marked: float
    container: float
    object_error_m: float
    object_error_m_s: float
    meant: float
    container_error_m: float
    error_m: float
    first_error_m: float
    gripper_accuracy: float
    lr: float
    episodes: int
    samples_per_s: float
    successes: int | None = None
    trials: int = 0
