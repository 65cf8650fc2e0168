"""From a checkpoint to a verified bundle, and the verification of a bundle that exists."""

from __future__ import annotations

import shutil
from functools import partial
from importlib import import_module
from pathlib import Path

import msgspec

import dvla
from dvla.engines.base import Engine
from dvla.engines.bundle import (
    REFERENCE_NAME,
    TOKENIZER_NAME,
    file_records,
    new_bundle,
    read_bundle,
    refuse_existing,
    write_manifest,
)
from dvla.engines.cache import FP32
from dvla.engines.errors import MissingDependency
from dvla.engines.integrity import sha256_file
from dvla.engines.manifest import (
    SCHEMA_VERSION,
    EngineRecord,
    Manifest,
    PolicyFacts,
    Source,
    StepsCost,
    Verification,
)
from dvla.engines.registry import engine_class
from dvla.engines.selection import key_here
from dvla.export.checkpoint import Checkpoint, build_policy, load_checkpoint
from dvla.export.config import plain_config
from dvla.export.engine_trials import check_precision, passed_verification, verify_engine
from dvla.export.facts import default_camera_size, normalisation, parse_camera_size, policy_facts
from dvla.export.fold import fold_policy
from dvla.export.onnx_export import write_graphs
from dvla.export.progress import Progress, size_text
from dvla.export.reference import (
    Reference,
    load_recorded_inputs,
    save_reference,
    synthetic_inputs,
    with_actions,
    with_guided_case,
)
from dvla.export.steps import check_steps, steps_cost, with_steps
from dvla.runtime.policy_checks import check_noise_scale
from dvla.runtime.tokenizer import PromptEncoder, find_tokenizer

# Graphs, reference, tokenizer and compiled graphs, relative to the checkpoint's weights in float32.
_SPACE_FACTOR = 2.8
# Runs the graphs where the backend that was asked for cannot.
_FALLBACK = "onnxruntime"
_LIBRARIES = ("torch", "safetensors", "onnx", "onnxscript")


class ExportOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a checkpoint is exported.

    Attributes:
        backend: the engine that the bundle is verified on.
        tokenizer: a ``tokenizer.json``, where it is not found by itself.
        camera_size: WIDTHxHEIGHT of the frames; the checkpoint's own size when not given.
        observations: recorded observations for the gate; synthetic ones when not given.
        calibration: a LeRobot dataset or a run folder to take them from instead.
        overwrite: replace a bundle of the same name.
        precision: of the engine: ``fp32``, what else the backend has, or ``auto``.
        steps: Euler steps of the denoise graph; the checkpoint's own number when not given.
        noise_scale: of the noise that the bundle's chunks are sampled from; it changes no graph.
    """

    backend: str = "onnxruntime"
    tokenizer: Path | None = None
    camera_size: str | None = None
    observations: Path | None = None
    calibration: Path | None = None
    overwrite: bool = False
    precision: str = FP32
    steps: int | None = None
    noise_scale: float = 1.0


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an export or a verification found.

    Attributes:
        bundle: the bundle's folder.
        backend: the engine that was verified.
        verification: its errors; absent where it was compiled and could not be run.
        precision: of the engine, by graph.
        tried: every precision that this backend was tried in here, with its errors.
        eager_s: median duration of one inference of the torch model [s]; absent without torch.
        steps_cost: what another number of Euler steps than the checkpoint's own costs.
    """

    bundle: Path
    backend: str
    verification: Verification | None
    precision: dict[str, str]
    tried: tuple[EngineRecord, ...] = ()
    eager_s: float | None = None
    steps_cost: StepsCost | None = None


def export_bundle(
    model: Path, output: Path, options: ExportOptions, progress: Progress
) -> ExportReport:
    """Export a checkpoint, compare its actions with the model's, and write the bundle.

    Raises:
        CheckpointError, TokenizerError, UsageError: the input cannot be used.
        ExportMismatch: the engine's actions are not the model's; nothing is written.
    """
    engine = engine_class(options.backend)
    check_precision(engine, options.precision)
    check_steps(options.steps)
    check_noise_scale(options.noise_scale)
    _require_libraries()
    refuse_existing(output, options.overwrite)
    asked = parse_camera_size(options.camera_size) if options.camera_size else None
    with progress.stage("checkpoint"):
        trained = load_checkpoint(model)
    checkpoint = with_steps(trained, options.steps)
    config = checkpoint.config
    camera = asked or default_camera_size(config)
    facts = policy_facts(config, checkpoint.arch, camera, options.noise_scale)
    folder = model if model.is_dir() else model.parent
    tokenizer = find_tokenizer(options.tokenizer, folder, config.vlm_model_name)
    encoder = PromptEncoder(tokenizer, facts.tokenizer_max_length, facts.vocab_size)
    encoder.encode("")
    with progress.stage("observations"):
        inputs = _observations(options, facts, encoder)
    _require_space(output, checkpoint)
    policy = build_policy(checkpoint)
    statistics = normalisation(policy)
    inputs = with_guided_case(inputs, statistics)
    source_config = plain_config(checkpoint.config_json)

    with new_bundle(output, overwrite=options.overwrite) as building:
        onnx = building / "onnx"
        stage = partial(progress.stage, folder=onnx)
        graphs = write_graphs(fold_policy(policy), camera, facts.action_units, onnx, stage)
        shutil.copyfile(tokenizer, building / TOKENIZER_NAME)
        with progress.stage(f"reference: torch on {len(inputs.frames)} {inputs.source} frames"):
            reference, eager_s = with_actions(inputs, policy)
            save_reference(building / REFERENCE_NAME, reference)
            cost = steps_cost(reference, policy, trained.config.num_steps, facts)
        with progress.stage("hashes"):
            files = file_records(building)
            source_sha256 = sha256_file(checkpoint.source)
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            dvla_version=dvla.__version__,
            source=Source(
                name=model.name,
                sha256=source_sha256,
                config=source_config,
            ),
            policy=facts,
            normalisation=statistics,
            tokenizer_sha256=sha256_file(building / TOKENIZER_NAME),
            precision=dict.fromkeys(("vision", "prefix", "denoise"), "fp32"),
            graphs=graphs,
            files=files,
            steps_cost=cost,
        )
        write_manifest(building, manifest)
        if not engine.can_run():  # Then at least the graphs that it was compiled from were run.
            graphs_here = engine_class(_FALLBACK)
            passed_verification(verify_engine(read_bundle(building), graphs_here, FP32, progress))
        record = verify_engine(read_bundle(building), engine, options.precision, progress)
        verification = passed_verification(record)
    return ExportReport(
        bundle=output,
        backend=options.backend,
        verification=verification,
        precision=record.key.precision,
        tried=_tried(output, engine),
        eager_s=eager_s,
        steps_cost=cost,
    )


def verify_bundle(
    path: Path, backend: str, progress: Progress, precision: str | None = None
) -> ExportReport:
    """Verify an existing bundle on this machine and record the result in its manifest.

    Needs neither torch nor the checkpoint: the bundle carries the model's actions. A bundle that
    fails is refused by the runtime on this backend from then on, in the precision that failed.

    Raises:
        BundleError: the bundle is damaged.
        MissingDependency: the backend cannot run on this machine.
        ExportMismatch: the engine's actions are not the model's.
    """
    engine = engine_class(backend)
    bundle = read_bundle(path)
    if not engine.can_run():
        raise MissingDependency(
            f"A verification runs the engine, and backend {backend} cannot run on this machine",
            got=f"device {engine.identity().device}",
            next_command="verify on the device; here, python -m dvla.export.compile_gate BUNDLE "
            "says whether the graphs compile",
        )
    with progress.stage("files"):
        bundle.check_files()
    record = verify_engine(bundle, engine, precision, progress)
    return ExportReport(
        bundle=path,
        backend=backend,
        verification=passed_verification(record),
        precision=record.key.precision,
        tried=_tried(path, engine),
        steps_cost=bundle.manifest.steps_cost,
    )


def _observations(options: ExportOptions, facts: PolicyFacts, encoder: PromptEncoder) -> Reference:
    """Return what the gate compares on, without actions yet."""
    if options.calibration:
        # Recordings bring the runtime's compiled parts, which an export needs for nothing else.
        from dvla.export.calibration import load_calibration

        return load_calibration(options.calibration, facts, encoder)
    if options.observations:
        return load_recorded_inputs(options.observations, facts)
    return synthetic_inputs(facts)


def _tried(path: Path, engine: type[Engine]) -> tuple[EngineRecord, ...]:
    """Return the records of a backend in a bundle that are of just this machine."""
    bundle = read_bundle(path)
    return tuple(
        record
        for record in bundle.manifest.engines
        if record.key == key_here(bundle, engine, record.key.precision)
    )


def _require_libraries() -> None:
    """Raise a MissingDependency unless everything that an export needs can be imported."""
    for name in _LIBRARIES:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise MissingDependency(
                f"An export needs {name}", got=str(error), next_command="pip install 'dvla[export]'"
            ) from error


def _require_space(output: Path, checkpoint: Checkpoint) -> None:
    """Raise a MissingDependency when the disk has no room for the bundle."""
    parameters = sum(tensor.numel() for tensor in checkpoint.tensors.values())
    needed_bytes = int(parameters * 4 * _SPACE_FACTOR)
    existing = next(parent for parent in output.absolute().parents if parent.exists())
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes:
        raise MissingDependency(
            f"There is no room for the bundle in {existing}",
            got=f"{size_text(free_bytes)} free",
            expected=f"{size_text(needed_bytes)}",
            next_command="free some space, or choose another -o",
        )
