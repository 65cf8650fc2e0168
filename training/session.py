"""One training: data, statistics, tokenizer and policy brought together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dvla.engines.bundle import TOKENIZER_NAME
from dvla.engines.errors import UsageError
from dvla.export.arch import VISION, Arch
from dvla.export.checkpoint import build_policy, load_checkpoint
from dvla.export.checkpoint_io import WEIGHTS_NAME
from dvla.export.config import PolicyConfig, convert_config
from dvla.export.model.policy import DynamicVla
from dvla.export.torch_ import torch
from dvla.runtime.tokenizer import PromptEncoder, find_tokenizer
from dvla.runtime.twin.scenes.language import sentences
from dvla.training.checkpoints import (
    STATE_NAME,
    read_statistics,
    set_statistics,
    write_statistics,
)
from dvla.training.closed_loop import PlayOptions
from dvla.training.dataset import Episodes
from dvla.training.dense_vision import embed_images
from dvla.training.flow_loss import read_prefix
from dvla.training.helpers import Helpers, words_of
from dvla.training.initialise import initialise
from dvla.training.options import Curve, TrainOptions
from dvla.training.parallel import Group
from dvla.training.pictures import Pictures
from dvla.training.presets import NANO_VOCAB, PRESETS, preset_config
from dvla.training.sampler import Sampler
from dvla.training.tokenizer import train_tokenizer
from dvla.training.trainer import Trainer

_HELD_OUT_SEED = 1
_ENCODER = ".vision_model.", ".connector."
"""In the names of its tensors."""


def train(
    preset: str,
    init: Path | None,
    data: Sequence[Path],
    out: Path,
    options: TrainOptions,
    *,
    resume: bool,
    report: Callable[[Curve], None],
    play: PlayOptions | None = None,
    new_encoder: bool = False,
    encoder: Path | None = None,
    weights: Sequence[float] = (),
) -> Pictures:
    """Train a policy and leave its checkpoint, tokenizer, statistics and curve in a folder.

    Args:
        preset: architecture to start from nothing.
        init: checkpoint to start from instead; it brings its own normalisation and tokenizer.
        data: folders of recorded episodes.
        out: the folder.
        options: how.
        resume: go on from the last save in ``out``.
        report: called with each line of the curve.
        play: which episodes are played in closed loop meanwhile; none by default.
        new_encoder: begin the encoder of ``init`` anew, as that of the preset.
        encoder: checkpoint with whose encoder a policy from nothing begins.
        weights: how often a step of each folder is drawn; all alike by default.

    Returns:
        What the policy sees of the cameras' frames.

    Raises:
        UsageError: the data or the folder cannot be used.
        CheckpointError: there is nothing to start or to go on from.
    """
    _refuse_trained(out, resume=resume)
    group = Group()
    torch.manual_seed(options.seed)
    policy, raw, config, arch = _policy(preset, init, options.seed, new_encoder)
    if encoder is not None and not resume:
        _begin_with(policy, encoder)
    seen_steps = config.delta_timestamps.observation
    width = config.state_dim
    pictures = Pictures.of(config, arch)
    episodes = Episodes(data, seen_steps, weights=weights, state_width=width, pictures=pictures)
    held_out = Episodes(data, seen_steps, state_width=width, held_out=True, pictures=pictures)
    raw["robot_type"] = robot = episodes.robot or config.robot_type
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = out / TOKENIZER_NAME
    if resume or not group.leads:
        if not resume:
            group.wait()  # for the leader's statistics and tokenizer
        statistics = read_statistics(out)
    else:
        statistics = episodes.statistics()
        write_statistics(out, statistics)
        if init is not None:
            shutil.copyfile(find_tokenizer(None, init, config.vlm_model_name), tokenizer)
        elif preset == "nano":
            own = (info.instruction for info in episodes.infos)
            train_tokenizer((*sentences(), *own), NANO_VOCAB, tokenizer)
        else:
            shutil.copyfile(find_tokenizer(None, None, config.vlm_model_name), tokenizer)
        group.wait()
    if init is None:
        set_statistics(policy, statistics)
    prompts = PromptEncoder(tokenizer, config.tokenizer_max_length, arch.vocab)
    sampler = Sampler(episodes, prompts, options.seed + group.rank, augment=True)
    checks = Sampler(held_out, prompts, _HELD_OUT_SEED, augment=False)
    one = checks.batch(1)
    images = one.images
    with torch.no_grad():
        seen = embed_images(policy.eval(), images)
        cache, _ = read_prefix(policy, seen.tokens, one)
        words = words_of(policy, one)
    helpers = Helpers(
        seen,
        words,
        cache,
        config.max_state_dim,
        torch.tensor(statistics.object_mean),
        torch.tensor(statistics.object_std),
        picture=(images.shape[-1], images.shape[-2]),
        frames=len(seen_steps),
    )
    trainer = Trainer(policy, helpers, raw, arch, options, out, group, play, robot or "franka")
    if resume:
        trainer.resume(sampler)
    trainer.run(sampler, checks, report)
    return pictures


def _refuse_trained(out: Path, *, resume: bool) -> None:
    """Raise a UsageError where a training would overwrite another, or has none to go on from."""
    state, weights = (out / STATE_NAME).exists(), (out / WEIGHTS_NAME).exists()
    if resume and not state:
        raise UsageError(
            f"{out} holds no training to go on from",
            got="a policy without its training's state" if weights else "no saved training",
            next_command=f"--init {out} and another --out" if weights else "leave --resume out",
        )
    if not resume and (state or weights):
        next_command = "add --resume to go on" if state else f"--init {out} to train it further"
        raise UsageError(
            f"{out} holds a trained policy already",
            next_command=f"{next_command}, or choose another --out",
        )


def _policy(
    preset: str, init: Path | None, seed: int, new_encoder: bool
) -> tuple[DynamicVla, dict[str, Any], PolicyConfig, Arch]:
    """Return the policy to start from, with its config as plain data and as read."""
    if init is not None:
        checkpoint = load_checkpoint(init)
        policy = build_policy(checkpoint).requires_grad_(True)
        raw: dict[str, Any] = json.loads(checkpoint.config_json)
        if not new_encoder:
            return policy, raw, checkpoint.config, checkpoint.arch
        seen = checkpoint.arch.vision.in_channels
        vision = msgspec.structs.replace(PRESETS[preset].vision, in_channels=seen)
        arch = msgspec.structs.replace(checkpoint.arch, vision=vision)
        renewed = DynamicVla(checkpoint.config, arch)
        initialise(renewed, seed)
        tensors = renewed.state_dict()
        for name, tensor in policy.state_dict().items():
            if not any(part in name for part in _ENCODER):
                tensors[name] = tensor
        renewed.load_state_dict(tensors)
        return renewed, raw, checkpoint.config, arch
    raw, arch = preset_config(preset), PRESETS[preset]
    config = convert_config(raw, f"the config of {preset}")
    policy = DynamicVla(config, arch)
    initialise(policy, seed)
    return policy, raw, config, arch


def _begin_with(policy: DynamicVla, source: Path) -> None:
    """Take over an encoder's first layers, in place, as long as they have the same form.

    Raises:
        UsageError: already the first has another.
    """
    lent, vision = load_checkpoint(source).tensors, policy.vlm.vision_model
    parts = (("patch_embedding", vision.patch_embedding), ("layers", vision.layers))
    layers = [
        (f"{VISION}{part}.{i}.", layer) for part, each in parts for i, layer in enumerate(each)
    ]
    taken = 0
    for prefix, layer in layers:
        theirs = {n.removeprefix(prefix): t for n, t in lent.items() if n.startswith(prefix)}
        ours = layer.state_dict()
        if {n: t.shape for n, t in theirs.items()} != {n: t.shape for n, t in ours.items()}:
            break
        layer.load_state_dict(theirs)
        taken += 1
    if not taken:
        raise UsageError(
            "The encoder of --encoder has another form than this policy's from its first layer on",
            got=str(source),
            expected=f"{policy.arch.vision.in_channels} channels in, stages of "
            + ", ".join(str(dim) for dim in policy.arch.vision.dims),
        )
