"""Delays by correlation: injected ones are recovered within the stated bound, poor ones refused."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from synthetic_run import START_NS, arm_states, make_run, manifest

from dvla.engines.errors import UsageError
from dvla.runtime.cameras.spec import CameraSpec, parse_camera
from dvla.runtime.errors import ConfigError
from dvla.runtime.latency import (
    MAX_DELAY_S,
    MIN_DELAY_S,
    Delay,
    LatencyUnclear,
    find_delay,
    path_m,
    picture_change,
)
from dvla.runtime.latency_set_up import (
    LatencySetUp,
    _injected,
    corrected,
    measure,
    set_up_of,
    write_set_up,
)
from dvla.runtime.recorder import Recorder
from dvla.runtime.run_config import RunConfig
from dvla.runtime.run_folder import RunFolder
from dvla.runtime.run_inputs import input_settings, lead_s

PERIOD_S = 0.004
SECONDS = 10.0
Recording = tuple[NDArray[np.float64], ...]


def stop_and_go(seconds: float, seed: int = 3) -> NDArray[np.float64]:
    """Return positions (n, 3) every 4 ms of a motion that starts and stops."""
    random = np.random.default_rng(seed)
    steps = round(seconds / PERIOD_S)
    speed = np.repeat(random.uniform(0.0, 0.25, (steps // 100 + 1, 2)), 100, axis=0)[:steps]
    smooth = np.stack([np.convolve(s, np.hanning(60) / 29.5, "same") for s in speed.T], axis=1)
    way = np.cumsum(smooth * np.sign(np.sin(np.arange(steps) / 230))[:, None], axis=0) * PERIOD_S
    return np.concatenate([way, np.zeros((steps, 1))], axis=1)


def setpoints(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return setpoints (n, 8) of positions, turned nowhere."""
    rows = np.zeros((len(positions), 8))
    rows[:, :3], rows[:, 3] = positions, 1.0
    return rows


@settings(max_examples=25, deadline=None)
@given(
    delay_ms=st.integers(0, 200),
    fps=st.sampled_from((25.0, 30.0)),
    noise=st.floats(0.0, 0.2),
    seed=st.integers(0, 1000),
)
def test_an_injected_delay_is_recovered_within_its_bound(
    delay_ms: int, fps: float, noise: float, seed: int
) -> None:
    t_s = np.arange(0.0, SECONDS, PERIOD_S)
    path = path_m(setpoints(stop_and_go(SECONDS)))
    edges_s = np.arange(0.0, SECONDS, 1 / fps)
    change = np.diff(np.interp(edges_s - delay_ms * 1e-3, t_s, path)) ** 0.7
    random = np.random.default_rng(seed)
    change = change + noise * change.std() * random.standard_normal(len(change))
    found = find_delay("it", t_s, path, edges_s, change)
    assert abs(found.delay_s - delay_ms * 1e-3) <= found.bound_s
    assert found.correlation > 0.6


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda c: np.random.default_rng(0).random(len(c)), "too poor"),
        (lambda c: c[:20], "too short"),
        (lambda c: 0.0 * c, "too little moved"),
    ],
)
def test_what_does_not_tell_is_refused(spoil: object, told: str) -> None:
    t_s = np.arange(0.0, SECONDS, PERIOD_S)
    path = path_m(setpoints(stop_and_go(SECONDS)))
    edges_s = np.arange(0.0, SECONDS, 0.04)
    change = spoil(np.diff(np.interp(edges_s - 0.05, t_s, path)))  # type: ignore[operator]
    with pytest.raises(LatencyUnclear, match=told):
        find_delay("it", t_s, path, edges_s[: len(change) + 1], change)


def test_a_resting_arm_and_a_delay_beyond_the_search_are_refused() -> None:
    t_s = np.arange(0.0, SECONDS, PERIOD_S)
    edges_s = np.arange(0.0, SECONDS, 0.04)
    with pytest.raises(LatencyUnclear, match="too little moved"):
        find_delay("it", t_s, 0.0 * t_s, edges_s, np.random.default_rng(0).random(len(edges_s) - 1))
    path = path_m(setpoints(stop_and_go(SECONDS)))
    change = np.diff(np.interp(edges_s - 0.46, t_s, path))
    with pytest.raises(LatencyUnclear):
        find_delay("it", t_s, path, edges_s, change)


def test_gaps_are_left_out_and_a_recording_full_of_them_is_the_hosts_fault() -> None:
    t_s = np.arange(0.0, SECONDS, PERIOD_S)
    path = path_m(setpoints(stop_and_go(SECONDS)))
    edges_s = np.arange(0.0, SECONDS, 0.04)
    change = np.diff(np.interp(edges_s - 0.05, t_s, path))
    random = np.random.default_rng(1)
    for share in (0.1, 0.3):
        kept = random.random(len(edges_s)) >= share
        seen_s = edges_s[kept]
        found = find_delay("it", t_s, path, seen_s, np.diff(np.interp(seen_s - 0.05, t_s, path)))
        usual = np.isclose(np.diff(seen_s), 0.04)
        assert found.steady == pytest.approx(0.04 * usual.sum() / np.ptp(seen_s))
        assert abs(found.delay_s - 0.05) <= found.bound_s
    # Who is kept from looking for most of the time cannot tell.
    bursts = edges_s[np.arange(len(edges_s)) % 25 < 5]
    with pytest.raises(LatencyUnclear, match=r"host was too busy.*8[34]% of the time in gaps"):
        find_delay("it", t_s, path, bursts, np.diff(np.interp(bursts - 0.05, t_s, path)))
    change[: 4 * len(change) // 5] = np.nan
    with pytest.raises(LatencyUnclear, match="host was too busy"):
        find_delay("it", t_s, path, edges_s, change)


def test_turning_counts_as_motion() -> None:
    rows = setpoints(np.zeros((50, 3)))
    angles = np.linspace(0.0, 1.0, 50)
    rows[:, 3], rows[:, 6] = np.cos(angles / 2), np.sin(angles / 2)
    assert abs(path_m(rows)[-1] - 0.2) < 1e-6


def set_up(sim: bool = True) -> LatencySetUp:
    """Return delays of a Franka with one camera measured, of two."""
    arm, camera = (
        Delay(delay_s=delay_s, bound_s=0.01, correlation=0.9, intervals=99)
        for delay_s in (0.05, 0.03)
    )
    return LatencySetUp(
        run="r", robot="franka", sim=sim, started_utc="", actuation=arm, cameras={"a.opst": camera}
    )


def test_delays_are_those_of_one_set_up(tmp_path: Path) -> None:
    path = tmp_path / "delays.json"
    write_set_up(path, set_up())
    assert set_up_of(path, "franka", sim=True) == set_up()
    for robot, sim in (("franka", False), ("piper", False)):
        with pytest.raises(ConfigError, match=r"another set-up\..*digital twin of the franka"):
            set_up_of(path, robot, sim=sim)
    path.write_text("{}")
    with pytest.raises(ConfigError, match=r"cannot be read.*dvla-calibrate latency RUN"):
        set_up_of(path, "franka", sim=True)


@pytest.mark.parametrize(
    ("arm_s", "camera_s", "schema", "told"),
    [
        (0.0, 0.0, 9, "got schema 9. expected schema 1"),
        (0.41, 0.0, 1, "delay of the arm .* got 0.41 s. expected -0.04 to 0.4 s"),
        (-0.05, 0.0, 1, "delay of the arm .* out of bounds"),
        (0.0, 1.1, 1, "delay of a.opst .* got 1.1 s. expected -0.04 to 1 s"),
        (0.0, -3.0, 1, "delay of a.opst .* out of bounds"),
    ],
)
def test_delays_that_nobody_finds_are_refused(
    tmp_path: Path, arm_s: float, camera_s: float, schema: int, told: str
) -> None:
    found, path = set_up(), tmp_path / "delays.json"
    arm = msgspec.structs.replace(found.actuation, delay_s=arm_s)
    cameras = {"a.opst": msgspec.structs.replace(found.actuation, delay_s=camera_s)}
    changed = msgspec.structs.replace(found, actuation=arm, cameras=cameras, schema=schema)
    write_set_up(path, changed)
    with pytest.raises(ConfigError, match=f"(?i){told}.*dvla-calibrate latency RUN"):
        set_up_of(path, "franka", sim=True)


def test_the_largest_delays_that_are_found_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "delays.json"
    for arm_s, camera_s in ((MIN_DELAY_S, MIN_DELAY_S), (MAX_DELAY_S, 1.0)):
        arm, camera = (
            msgspec.structs.replace(set_up().actuation, delay_s=s) for s in (arm_s, camera_s)
        )
        kept = msgspec.structs.replace(set_up(), actuation=arm, cameras={"a.opst": camera})
        write_set_up(path, kept)
        assert set_up_of(path, "franka", sim=True) == kept


def test_what_is_no_number_in_a_configuration_was_not_injected() -> None:
    odd = {"inject_arm_ms": "x", "inject_camera_ms": None}
    assert _injected(odd) == _injected({}) == _injected({"inject_arm_ms": True}) == {}
    assert _injected({"inject_arm_ms": 20, "inject_camera_ms": 0.0}) == {"arm": 20.0}


def test_a_run_without_pictures_tells_no_camera_and_is_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 2.0, video=False)
    with pytest.raises(UsageError, match=r"kept no pictures.*--mcap"):
        measure(folder.path)


def test_cameras_without_a_flag_are_corrected_too_and_a_flag_has_the_last_word() -> None:
    features = ("a.opst", "a.wrist")
    assert corrected({}, features, set_up()) == {
        "a.opst": CameraSpec(role="a.opst", kind="twin", known_latency_s=0.03)
    }
    named = {"a.opst": CameraSpec(role="opst", kind="v4l2", known_latency_s=0.01)}
    assert corrected(named, features, set_up()) == named
    bare = {"a.opst": CameraSpec(role="opst", kind="v4l2"), "a.wrist": named["a.opst"]}
    assert corrected(bare, features, set_up())["a.opst"].latency_s == 0.03
    none_late = {"a.opst": parse_camera("opst=v4l2:0,latency_s=0")}
    assert corrected(none_late, features, set_up())["a.opst"].latency_s == 0.0


@functools.cache
def twin_recording() -> Recording:
    """Play a stop-and-go motion on the twin; returns times, commanded, measured, pictures."""
    pytest.importorskip("mujoco")
    pytest.importorskip("mujoco")
    from dvla.runtime.ik import DifferentialIk
    from dvla.runtime.twin.driver import TwinDriver
    from dvla.runtime.twin.renderer import TwinRenderer
    from dvla.runtime.twin.world import TwinWorld

    world = TwinWorld()
    driver = TwinDriver(world, DifferentialIk(PERIOD_S, world.body.joint_limits))
    renderer = TwinRenderer(width=240, height=180)
    start = world.measured()
    way = stop_and_go(11.0)
    out = np.empty((180, 240, 3), np.uint8)
    times, commanded, measured, images = [], [], [], []
    for step, moved in enumerate(way):
        now_ns = round(step * PERIOD_S * 1e9)
        measured.append(driver.read(now_ns).setpoint)
        goal = start.copy()
        goal[:3] += 0.6 * moved
        driver.command(goal, now_ns)
        times.append(now_ns * 1e-9)
        commanded.append(goal)
        if step % 10 == 0:
            renderer.render(world.snapshot(), "opst_cam", out)
            images.append(out.copy())
    renderer.close()
    return np.array(times), np.array(commanded), np.array(measured), np.array(images)


@pytest.mark.parametrize("delay_s", [0.0, 0.03, 0.08])
def test_a_cameras_injected_delay_is_recovered_on_the_twin(delay_s: float) -> None:
    t_s, _, measured, images = twin_recording()
    shown_s = t_s[::10] + delay_s
    change = picture_change(images)
    found = find_delay("the camera's delay", t_s, path_m(measured), shown_s, change)
    assert abs(found.delay_s - delay_s) <= found.bound_s


def test_a_recorded_run_tells_its_delays_and_the_next_one_takes_them_off(tmp_path: Path) -> None:
    pytest.importorskip("mcap")
    pytest.importorskip("av")
    late_s, feature = 0.06, "observation.images.opst_cam"
    t_s, commanded, measured, images = twin_recording()
    folder = RunFolder.create(tmp_path, "franka", sim=True)
    folder.write_manifest(manifest())
    recorder = Recorder(folder, mcap_bytes=1 << 30)
    like = arm_states(0.02)[0]
    for index in range(0, len(t_s), 2):
        t_ns = START_NS + round(t_s[index] * 1e9)
        poses = {"measured": measured[index], "commanded": commanded[index]}
        told = {name: tuple(pose.tolist()) for name, pose in poses.items()}
        recorder.add_arm_state(
            msgspec.structs.replace(like, t_ns=t_ns, sequence=index, mode="follow", **told)
        )
    for index, image_hwc in enumerate(images):
        recorder.add_frame(feature, START_NS + round((0.04 * index + late_s) * 1e9), image_hwc)
    recorder.close()
    folder.write_config(RunConfig(sim=True, policy="oracle", inject_camera_ms=60.0))
    found = measure(folder.path)
    assert found.injected_ms == {"camera": 60.0}
    delay = found.cameras[feature]
    assert abs(delay.delay_s - late_s) <= delay.bound_s
    assert 0.0 <= found.actuation.delay_s < 0.15
    delays = tmp_path / "delays.json"
    write_set_up(delays, found)
    config = RunConfig(sim=True, policy="oracle", latency=delays)
    specs = input_settings(config, {feature: None, "observation.images.wrist_cam": None})
    assert specs["camera_specs"] == {
        feature: CameraSpec(role=feature, kind="twin", known_latency_s=delay.delay_s)
    }
    assert lead_s(config) == found.actuation.delay_s
    # A run that had taken some of it off already shows the rest, and that is not the whole.
    folder.write_manifest(manifest(delays_s={"arm": 0.01, "opst_cam": 0.02}))
    again = measure(folder.path)
    assert again.cameras[feature].delay_s == pytest.approx(delay.delay_s + 0.02)
    assert again.actuation == found.actuation
    folder.write_manifest(manifest(delays_s={"opst_cam": 0.99}))
    with pytest.raises(LatencyUnclear, match=r"no run takes off more than 1 s"):
        measure(folder.path)


@pytest.mark.parametrize("delay_s", [0.02, 0.06])
def test_an_arms_injected_delay_is_recovered_on_the_twin(delay_s: float) -> None:
    t_s, commanded, measured, _ = twin_recording()
    edges_s = np.arange(0.0, t_s[-1], 0.02)
    moved = np.diff(np.interp(edges_s, t_s, path_m(measured)))
    own = find_delay("the arm's delay", t_s, path_m(commanded), edges_s, moved)
    later = np.diff(np.interp(edges_s - delay_s, t_s, path_m(measured)))
    found = find_delay("the arm's delay", t_s, path_m(commanded), edges_s, later)
    assert 0.0 <= own.delay_s < 0.15
    assert abs(found.delay_s - own.delay_s - delay_s) <= found.bound_s + own.bound_s
