"""What the host grants a real-time loop, tried for real in a process of its own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from dvla.runtime.percentiles import Percentiles, percentiles
from dvla.runtime.preflight.finding import Finding, ok
from dvla.runtime.realtime import RealtimeReport, enter_realtime

PROBE_PRIORITY = 20
PERIOD_NS = 4_000_000
PROBE_S = 2.0
PROBE_TIMEOUT_S = 30.0
LATE_WARN_S, LATE_FAIL_S = 0.0005, 0.004
RTPRIO_HELP = (
    "as root: echo '@realtime - rtprio 99' and '@realtime - memlock unlimited' into "
    "/etc/security/limits.d/dvla.conf, add yourself to group realtime, log in again; "
    "in a container: --cap-add SYS_NICE --cap-add IPC_LOCK --ulimit rtprio=99 --ulimit memlock=-1"
)


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What the probe process got, and how late it woke up [s]."""

    realtime: RealtimeReport
    lateness_s: Percentiles | None
    overruns: int


def run_probe(cpu: int | None = None) -> Probe:
    """Try everything in a fresh process, so that this one stays as it is.

    Raises:
        OSError: the process cannot be started.
    """
    command = [sys.executable, "-m", "dvla.runtime.doctor.rt", "" if cpu is None else str(cpu)]
    done = subprocess.run(
        command, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False, text=True
    )
    if done.returncode:
        raise OSError(f"the real-time probe ended with {done.returncode}: {done.stderr[-300:]}")
    return msgspec.json.decode(done.stdout, type=Probe)


def probe(cpu: int | None) -> Probe:
    """Be the probe: ask for what the servo asks for, then wake up for two seconds."""
    got = enter_realtime(priority=PROBE_PRIORITY, cpus=() if cpu is None else (cpu,))
    late, overruns = [], 0
    deadline_ns = time.monotonic_ns() + PERIOD_NS
    end_ns = deadline_ns + round(PROBE_S * 1e9)
    while deadline_ns < end_ns:
        left_ns = deadline_ns - time.monotonic_ns()
        if left_ns > 0:
            time.sleep(left_ns / 1e9)
        late.append((time.monotonic_ns() - deadline_ns) / 1e9)
        overruns += late[-1] > PERIOD_NS / 1e9
        deadline_ns += PERIOD_NS
    return Probe(realtime=got, lateness_s=percentiles(late), overruns=overruns)


def check_probe(found: Probe) -> list[Finding]:
    """Judge what the probe got."""
    got = found.realtime
    return [
        _granted(
            "SCHED_FIFO",
            got.fifo_priority > 0,
            f"priority {got.fifo_priority}" if got.fifo_priority else "refused",
            "real-time priorities: without them a busy host delays commands",
            RTPRIO_HELP,
        ),
        _granted(
            "mlockall",
            got.memory_locked,
            "memory locked" if got.memory_locked else f"refused (memlock {_memlock()})",
            "memlock unlimited: a page fault in the loop costs milliseconds",
            RTPRIO_HELP,
        ),
        _granted(
            "timer slack",
            0 <= got.timer_slack_ns <= 1000,
            f"{got.timer_slack_ns} ns" if got.timer_slack_ns >= 0 else "could not be set",
            "1 ns",
            "",
        ),
        check_lateness(found),
    ]


def check_lateness(found: Probe) -> Finding:
    """Judge how late a 250 Hz loop wakes up."""
    name = "wake-up lateness"
    late = found.lateness_s
    if late is None:
        return Finding(check=name, level="fail", got="nothing measured", expected="500 wake-ups")
    got = (
        f"p50 {1e6 * late.p50:.0f}, p95 {1e6 * late.p95:.0f}, p99 {1e6 * late.p99:.0f}, "
        f"max {1e6 * late.max:.0f} us of {late.count} wake-ups at 250 Hz, {found.overruns} overruns"
    )
    if late.p99 <= LATE_WARN_S:
        return ok(name, got)
    return Finding(
        check=name,
        level="fail" if late.p99 > LATE_FAIL_S else "warn",
        got=got,
        expected=f"p99 up to {1e6 * LATE_WARN_S:.0f} us (fail beyond one period)",
        next_command="end other work; performance governor; isolate a core; PREEMPT_RT for 1 kHz",
    )


def check_kernel() -> list[Finding]:
    """Judge the kernel: preemption, governor, clock, affinity, throttling of real-time tasks."""
    return [_preemption(), _governor(), _clock_source(), _affinity(), _throttling()]


def _preemption() -> Finding:
    name = "kernel preemption"
    realtime = _read("/sys/kernel/realtime") == "1" or "PREEMPT_RT" in os.uname().version
    if realtime:
        return ok(name, f"PREEMPT_RT ({os.uname().release})")
    kind = "PREEMPT_DYNAMIC" if "PREEMPT_DYNAMIC" in os.uname().version else "ordinary"
    return Finding(
        check=name,
        level="warn",
        got=f"{kind} kernel {os.uname().release}",
        expected="PREEMPT_RT where this host drives a Franka at 1 kHz; a twin or 250 Hz do without",
        next_command="install linux-image-rt-amd64 (Debian), Ubuntu Pro's realtime kernel, or "
        "JetPack's RT packages",
    )


def _governor() -> Finding:
    name = "CPU governor"
    found = {
        _read(str(path))
        for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    } - {""}
    if not found:
        return ok(name, "not told by this kernel (virtual machines have none)")
    told = ", ".join(sorted(found))
    if found <= {"performance", "schedutil"}:
        return ok(name, told)
    return Finding(
        check=name,
        level="warn",
        got=told,
        expected="performance",
        next_command="cpupower frequency-set -g performance (as root); nvpmodel -m 0 and "
        "jetson_clocks on a Jetson",
    )


def _clock_source() -> Finding:
    name = "clock source"
    source = _read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    resolution_ns = time.clock_getres(time.CLOCK_MONOTONIC) * 1e9
    started = time.perf_counter()
    for _ in range(2000):
        time.monotonic_ns()
    cost_ns = (time.perf_counter() - started) / 2000 * 1e9
    got = f"{source or 'unknown'}, resolution {resolution_ns:.0f} ns, {cost_ns:.0f} ns a reading"
    if resolution_ns <= 1000 and source not in ("hpet", "acpi_pm", "jiffies"):
        return ok(name, got)
    return Finding(
        check=name,
        level="warn",
        got=got,
        expected="tsc, arch_sys_counter or kvm-clock",
        next_command="look for 'clocksource' in the kernel's log (dmesg)",
    )


def _affinity() -> Finding:
    mine = sorted(os.sched_getaffinity(0))
    isolated = _read("/sys/devices/system/cpu/isolated")
    got = f"{len(mine)} CPUs may be used" + (f", isolated: {isolated}" if isolated else "")
    if len(mine) >= 4:
        return ok("CPUs", got)
    return Finding(
        check="CPUs",
        level="warn",
        got=got,
        expected="4 or more: servo, arm, cameras and the engine run side by side",
        next_command="give the container or virtual machine more CPUs",
    )


def _throttling() -> Finding:
    name = "real-time throttling"
    runtime_us = _read("/proc/sys/kernel/sched_rt_runtime_us")
    period_us = _read("/proc/sys/kernel/sched_rt_period_us")
    if not runtime_us:
        return ok(name, "not told by this kernel")
    return ok(name, f"{runtime_us} of {period_us} us for real-time tasks")


def _granted(check: str, granted: bool, got: str, expected: str, help_: str) -> Finding:
    if granted:
        return ok(check, got)
    return Finding(check=check, level="warn", got=got, expected=expected, next_command=help_)


def _memlock() -> str:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return "unlimited" if soft == resource.RLIM_INFINITY else f"{soft // 1024} KiB"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip("\0 \n")
    except OSError:
        return ""


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else ""
    print(msgspec.json.encode(probe(int(chosen) if chosen else None)).decode())
