"""What is measured when nobody brings a checkpoint: seeded weights, frames, state and noise."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.report.schema import Fixture
from dvla.engines.bundle import Bundle, read_bundle
from dvla.engines.errors import BundleError, DvlaError, EngineMismatch, UsageError
from dvla.engines.files import locked_folder
from dvla.engines.manifest import PolicyFacts
from dvla.engines.selection import runnable_engine, verify_command
from dvla.runtime.observation import Observation

if TYPE_CHECKING:
    from dvla.export.progress import Progress

SIZES = ("tiny", "full")
TOKENS = 13
"""Of the instruction; two cameras and a state make a prefix of 86 of it."""
_SEED = 0x0B5E
_STAMP_NAME = "made_from.txt"

Say = Callable[[str], None]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One inference, fixed to the bit."""

    observation: Observation
    noise: NDArray[np.float32]

    @property
    def sha256(self) -> str:
        """Of every number that goes into the inference."""
        digest = hashlib.sha256()
        for name, frames in self.observation.images.items():
            digest.update(name.encode())
            digest.update(frames.tobytes())
        digest.update(self.observation.state.tobytes())
        digest.update(repr(self.observation.token_ids).encode())
        digest.update(self.noise.tobytes())
        return digest.hexdigest()


def make_case(facts: PolicyFacts, tokens: int = TOKENS) -> Case:
    """Return the observation and the noise that a benchmark measures with.

    Args:
        facts: of the bundle.
        tokens: of the instruction; fewer where the bundle takes fewer.
    """
    from dvla.export.synthetic_weights import synthetic_image

    rng = np.random.Generator(np.random.PCG64(_SEED))
    n_tokens = min(tokens, facts.tokenizer_max_length)
    history = len(facts.history_steps)
    state = rng.uniform(0.0, 1.0, facts.state_width).astype(np.float32)
    return Case(
        observation=Observation(
            images={
                camera: np.stack(
                    [
                        synthetic_image(f"{camera}/{step}", facts.camera_height, facts.camera_width)
                        for step in range(history)
                    ]
                )
                for camera in facts.cameras
            },
            state=np.tile(state, (history, 1)),
            token_ids=tuple(int(i) for i in rng.integers(0, facts.vocab_size, n_tokens)),
        ),
        noise=rng.standard_normal((facts.chunk_size, facts.max_action_dim), np.float32),
    )


def fixture_of(bundle: Bundle, case: Case, name: str) -> Fixture:
    """Return the record of what is measured."""
    return Fixture(
        name=name,
        weights_sha256=bundle.manifest.source.sha256,
        inputs_sha256=case.sha256,
        tokens=len(case.observation.token_ids or ()),
        bundle_bytes=sum(file.size_bytes for file in bundle.manifest.files),
        precision=dict(bundle.manifest.precision),
    )


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle to measure, and the checkpoint that it came from where that is at hand."""

    name: str
    bundle: Path
    checkpoint: Path | None


def find_subject(
    bundle: Path | None, synthetic: str | None, backends: tuple[str, ...], say: Say
) -> Subject:
    """Return what is to be measured, making the synthetic bundle where it does not exist yet.

    Args:
        bundle: of the user.
        synthetic: ``tiny`` or ``full``, in place of a bundle.
        backends: that must be able to run it; the synthetic one is verified on each.
        say: is given lines of progress.

    Raises:
        UsageError: both or neither are given, or there is no such size.
        BundleError, EngineMismatch, MissingDependency: the bundle cannot run on a backend here.
    """
    if (bundle is None) == (synthetic is None):
        raise UsageError(
            "Say what to measure",
            got="both a bundle and --synthetic" if bundle else "neither a bundle nor --synthetic",
            next_command="dvla-bench latency BUNDLE, or dvla-bench latency --synthetic tiny",
        )
    if bundle is not None:
        opened = read_bundle(bundle)
        for backend in backends:
            runnable_engine(opened, backend)
        return Subject(name=opened.path.resolve().name, bundle=bundle, checkpoint=None)
    if synthetic not in SIZES:
        raise UsageError("There is no such synthetic size", got=repr(synthetic), choices=SIZES)
    return synthetic_subject(synthetic, backends, say)


def synthetic_subject(size: str, backends: tuple[str, ...], say: Say) -> Subject:
    """Return the synthetic checkpoint and bundle of a size, made once and kept in the cache."""
    # A backend that cannot run here is refused before minutes are spent on a bundle for it.
    from dvla.engines.registry import engine_class
    from dvla.export.progress import Progress

    for backend in backends:
        engine_class(backend)
    folder = cache_folder() / size
    checkpoint, bundle = folder / "checkpoint", folder / "bundle"
    progress = Progress(say)
    folder.mkdir(parents=True, exist_ok=True)
    with locked_folder(folder):  # Two processes may want it at the same time.
        _ensure_made(size, checkpoint, bundle, backends, progress)
    for backend in backends:
        _ensure_verified(bundle, backend, progress)
    return Subject(name=f"synthetic-{size}", bundle=bundle, checkpoint=checkpoint)


def _ensure_made(
    size: str, checkpoint: Path, bundle: Path, backends: tuple[str, ...], progress: Progress
) -> None:
    """Make the synthetic checkpoint and bundle of a size unless this code made them."""
    from dvla.export.build import ExportOptions, export_bundle
    from dvla.export.synthetic import Size, synthetic_checkpoint

    stamp, wanted = bundle.with_name(_STAMP_NAME), source_digest()
    if stamp.is_file() and stamp.read_text() == wanted and _readable(bundle):
        return
    stamp.unlink(missing_ok=True)
    with progress.stage(f"synthetic-{size}: weights"):
        synthetic_checkpoint(msgspec.convert(size, Size), checkpoint)
    options = ExportOptions(backend=backends[0] if backends else "onnxruntime", overwrite=True)
    export_bundle(checkpoint, bundle, options, progress)
    stamp.write_text(wanted)


def _ensure_verified(path: Path, backend: str, progress: Progress) -> None:
    """Verify a bundle on a backend unless that was done here."""
    from dvla.export.build import verify_bundle

    bundle = read_bundle(path)
    try:
        runnable_engine(bundle, backend)
    except EngineMismatch:
        try:
            verify_bundle(path, backend, progress)
        except DvlaError as error:
            raise EngineMismatch(
                f"The synthetic bundle does not pass its verification on {backend}",
                got=str(error),
                next_command=verify_command(bundle, backend),
            ) from error


def cache_folder() -> Path:
    """Return where synthetic checkpoints and bundles are kept between calls."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dvla" / "bench"


def source_digest() -> str:
    """Return what a cached bundle depends on: the code and the libraries that make it."""
    import dvla.export
    from dvla.benchmarks.report.machine import optional_versions

    digest = hashlib.sha256(repr(sorted(optional_versions().items())).encode())
    root = Path(dvla.export.__path__[0])
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _readable(bundle: Path) -> bool:
    """Say whether a bundle in the cache is of this version's schema."""
    try:
        read_bundle(bundle)
    except BundleError:
        return False
    return True
