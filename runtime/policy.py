"""A bundle as a policy: observations in, chunks of absolute actions out; torch-free."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dvla.engines.base import EngineOptions
from dvla.engines.bundle import TOKENIZER_NAME, Bundle, read_bundle
from dvla.engines.errors import TokenizerError, UsageError
from dvla.engines.manifest import PolicyFacts
from dvla.engines.pipeline import ActionPipeline
from dvla.engines.selection import chosen_engine
from dvla.runtime.chunk import Chunk
from dvla.runtime.observation import Observation
from dvla.runtime.policy_checks import (
    check_guide,
    check_noise,
    check_noise_scale,
    checked_frames,
    graph_state,
)
from dvla.runtime.pose import unwrap_near
from dvla.runtime.tokenizer import Prompt, PromptEncoder, pad_tokens, tokenizer_sha256

# rx and rz of an action and of a state; ry never leaves [-pi/2, pi/2].
_WRAPPED_COLUMNS = (3, 5)
# A guide is clipped to what the network can have seen: a column that never varied in training has
# a deviation of zero, and the smallest difference would become millions of deviations.
_GUIDE_DEVIATIONS = 10.0


class Policy:
    """A loaded, warmed-up bundle; it implements ``ChunkPolicy`` and ``GuidedPolicy``.

    Make one with ``Policy.load``. It holds no state of an episode, so the same observation and the
    same noise always give the same chunk.
    """

    def __init__(
        self,
        bundle: Bundle,
        pipeline: ActionPipeline,
        encoder: PromptEncoder,
        noise_scale: float | None = None,
    ) -> None:
        self.bundle = bundle
        self.pipeline = pipeline
        self._facts = bundle.manifest.policy
        self._encoder = encoder
        scale = self._facts.noise_scale if noise_scale is None else noise_scale
        self._random, self._noise_scale = np.random.default_rng(), np.float32(scale)
        self._sequence = 0
        self._frames = np.zeros(_frames_shape(self._facts), np.uint8)
        self._prompts: dict[str, Prompt] = {}

    @classmethod
    def load(
        cls,
        bundle: Path | str,
        backend: str = "onnxruntime",
        *,
        threads: int | None = None,
        spinning: bool = False,
        noise_scale: float | None = None,
    ) -> Policy:
        """Load a bundle on a backend, check every file of it, and warm it up.

        Args:
            bundle: folder written by ``dvla-export``.
            backend: name of the engine's backend.
            threads: threads of one inference; ``None`` lets the backend choose.
            spinning: let idle engine threads spin (faster, but it takes a core from the servo).
            noise_scale: in the place of the bundle's own (``PolicyFacts.noise_scale``); noise that
                a caller gives is taken as it is.

        Raises:
            UsageError: the scale is out of bounds.
            BundleError: missing, damaged, edited or of another schema version.
            EngineMismatch: the backend was never verified on this machine.
            MissingDependency: the backend's library is not installed.
        """
        check_noise_scale(noise_scale)
        opened = read_bundle(bundle)
        choice = chosen_engine(opened, backend)
        opened.check_files()
        encoder = _encoder_of(opened)
        options = EngineOptions(threads=threads, spinning=spinning)
        pipeline = ActionPipeline.of_bundle(opened, choice.engine, options, choice.precision)
        pipeline.load()
        pipeline.warm_up()
        return cls(opened, pipeline, encoder, noise_scale)

    @property
    def chunk_size(self) -> int:
        """H, the number of actions of a chunk."""
        return self._facts.chunk_size

    @property
    def control_period_s(self) -> float:
        """T, the spacing of the actions [s]."""
        return self._facts.control_period_s

    @property
    def history_steps(self) -> tuple[int, ...]:
        """Observed control steps relative to now, oldest first."""
        return self._facts.history_steps

    @property
    def facts(self) -> PolicyFacts:
        """Names, sizes and units of what the policy takes and gives."""
        return self._facts

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
        *,
        prev_actions: NDArray[np.float32] | None = None,
        prev_weight: NDArray[np.float32] | None = None,
    ) -> Chunk:
        """Return the chunk for an observation.

        Args:
            observation: images, state and instruction with one capture time.
            noise: (H, max_action_dim) float32 initial noise, read only; it fixes the result.
            seed: of the noise, where no noise is given; it fixes the result too.
            prev_actions: (H, 7) absolute [m, rad, -], what the previous chunk asks for at the
                instants of this chunk's actions; it guides the sampling.
            prev_weight: (H,) in [0, 1], how much; 1 keeps the action, 0 leaves it free. Without the
                two, all are 0.

        Returns:
            The chunk; its actions (H, A) [m, rad, -] are absolute and read-only.

        Raises:
            UsageError: a name, shape, dtype or value of the observation, the noise or the guide is
                wrong.
        """
        started_s = time.perf_counter()
        frames = checked_frames(self._facts, observation, self._frames)
        state = graph_state(self._facts, observation)
        prompt = self._prompt(observation)
        drawn = self._noise(noise, seed)
        guide = self._guide(prev_actions, prev_weight, state)
        actions = self.pipeline.run(
            frames, prompt.token_ids, prompt.token_mask, state, drawn, *guide
        )
        absolute = absolute_actions(actions, state, self._facts.delta_columns)
        absolute.flags.writeable = False
        chunk = Chunk(
            actions=absolute,
            t_obs_ns=observation.t_obs_ns,
            inference_s=time.perf_counter() - started_s,
            control_period_s=self.control_period_s,
            sequence=self._sequence,
        )
        self._sequence += 1
        return chunk

    def reset(self) -> None:
        """Forget the prompts of the episode so far; nothing else is kept between chunks."""
        self._prompts.clear()

    def close(self) -> None:
        """Free the engines."""
        self.pipeline.close()

    def _prompt(self, observation: Observation) -> Prompt:
        """Return the padded prompt, encoding each instruction of an episode once."""
        facts = self._facts
        if observation.token_ids is not None:
            return pad_tokens(observation.token_ids, facts.tokenizer_max_length, facts.vocab_size)
        text = observation.instruction
        if text not in self._prompts:
            self._prompts[text] = self._encoder.encode(text)
        return self._prompts[text]

    def _guide(
        self,
        prev_actions: NDArray[np.float32] | None,
        prev_weight: NDArray[np.float32] | None,
        state: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | tuple[()]:
        """Return the checked guide as the graph takes it, or nothing where there is none."""
        if prev_actions is None and prev_weight is None:
            return ()
        if prev_actions is None or prev_weight is None:
            raise UsageError(
                "Half a guide is given", expected="both prev_actions and prev_weight, or neither"
            )
        check_guide(prev_actions, prev_weight, self._facts)
        target = relative_actions(prev_actions, state, self._facts.delta_columns)
        seen = self.bundle.manifest.normalisation
        reach = _GUIDE_DEVIATIONS * np.array(seen.action_std)
        mean = np.array(seen.action_mean)
        target = np.clip(target, mean - reach, mean + reach)
        return target.astype(np.float32), np.asarray(prev_weight, np.float32)

    def _noise(self, noise: NDArray[np.float32] | None, seed: int | None) -> NDArray[np.float32]:
        """Return the caller's noise, checked, or draw it."""
        shape = (self._facts.chunk_size, self._facts.max_action_dim)
        if noise is not None:
            if seed is not None:
                raise UsageError("Both noise and seed are given", expected="one of them")
            check_noise(noise, shape)
            return noise
        random = self._random if seed is None else np.random.Generator(np.random.PCG64(seed))
        return random.standard_normal(shape, np.float32) * self._noise_scale


def relative_actions(
    actions: NDArray[np.floating], state: NDArray[np.float32], delta_columns: int
) -> NDArray[np.float64]:
    """Invert ``absolute_actions`` for a state that need not be the one they were made with.

    Args:
        actions: (H, A) absolute [m, rad, -]; rx and rz may be whole turns away from the state.
        state: (S,) the newest state of the new observation [m, rad].
        delta_columns: number of leading columns that become offsets from the state.

    Returns:
        (H, A) float64, a new array.
    """
    relative = np.array(actions, np.float64)
    for column in _WRAPPED_COLUMNS:
        relative[:, column] = unwrap_near(relative[:, column], state[column])
    relative[:, :delta_columns] -= state[:delta_columns]
    return relative


def absolute_actions(
    actions: NDArray[np.float32], state: NDArray[np.float32], delta_columns: int
) -> NDArray[np.float32]:
    """Make a chunk's actions absolute, with rx and rz near the state's.

    Args:
        actions: (H, A) physical units; the first ``delta_columns`` are offsets from the state.
        state: (S,) the newest state of the chunk's own observation [m, rad].
        delta_columns: number of leading offset columns.

    Returns:
        (H, A) float32 [m, rad, -], a new array.
    """
    absolute = np.array(actions, np.float32)
    absolute[:, :delta_columns] += state[:delta_columns]
    for column in _WRAPPED_COLUMNS:
        absolute[:, column] = unwrap_near(absolute[:, column], state[column])
    return absolute


def _frames_shape(facts: PolicyFacts) -> tuple[int, int, int, int, int]:
    return (
        len(facts.cameras),
        len(facts.history_steps),
        facts.camera_height,
        facts.camera_width,
        3,
    )


def _encoder_of(bundle: Bundle) -> PromptEncoder:
    """Return the bundle's prompt encoder, unless its tokenizer was replaced."""
    facts = bundle.manifest.policy
    path = bundle.path / TOKENIZER_NAME
    found = tokenizer_sha256(path)
    if found != bundle.manifest.tokenizer_sha256:
        raise TokenizerError(
            f"{path} is not the tokenizer that the bundle was made with",
            got=f"sha256 {found[:16]}...",
            expected=f"sha256 {bundle.manifest.tokenizer_sha256[:16]}...",
            next_command="export the bundle again with the right --tokenizer",
        )
    return PromptEncoder(path, facts.tokenizer_max_length, facts.vocab_size)
