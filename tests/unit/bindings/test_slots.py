"""The slot protocol of slots.h: its laws, driven step by step, and mutants that must break them.

The header is compiled alone, so that a test can put the writer between any two of the reader's
steps; the compiled stream and ring include the same file. What aarch64 executes is read from the
stream's own generated C, cross-compiled.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import dvla.bindings

BINDINGS = Path(dvla.bindings.__file__).parent
HEADER = (BINDINGS / "slots.h").read_text()
SHIM = """
#include "slots.h"
void write_open(void *s, uint64_t n) { dvla_write_open(s, n); }
void write_close(void *s, uint64_t n) { dvla_write_close(s, n); }
uint64_t read_open(void *s) { return dvla_read_open(s); }
int read_close(void *s, uint64_t n) { return dvla_read_close(s, n); }
void store(void *to, const void *from, size_t n) { dvla_store_bytes(to, from, n); }
void load(void *to, void *from, size_t n) { dvla_load_bytes(to, from, n); }
"""
MUTANTS = {
    "the reader's check is gone": (
        "memory_order_relaxed) == sequence;",
        "memory_order_relaxed), 1;",
    ),
    "begin is never stored": (
        "atomic_store_explicit(&stamp->begin, sequence, memory_order_relaxed);",
        "",
    ),
    "end is stored where begin belongs": ("&stamp->begin, sequence", "&stamp->end, sequence"),
    "end is never stored": (
        "atomic_store_explicit(&stamp->end, sequence, memory_order_release);",
        "",
    ),
    "the last partial word is lost": ("if (rest) {", "if (0) {"),
}


class Slot:
    """The header's functions over one stamp and 64 bytes of payload."""

    def __init__(self, folder: Path, header: str) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("no C compiler to compile slots.h with")
        (folder / "slots.h").write_text(header)
        (folder / "shim.c").write_text(SHIM)
        library = folder / "shim.so"
        command = [compiler, "-std=c11", "-O2", "-w", "-shared", "-fPIC", "shim.c", "-o", library]
        subprocess.run(command, cwd=folder, check=True)
        self._library = ctypes.CDLL(str(library))
        self._library.read_open.restype = ctypes.c_uint64
        self.stamp = (ctypes.c_uint64 * 2)()
        self.words = (ctypes.c_uint64 * 8)()

    def write_open(self, sequence: int) -> None:
        self._library.write_open(self.stamp, ctypes.c_uint64(sequence))

    def write_close(self, sequence: int) -> None:
        self._library.write_close(self.stamp, ctypes.c_uint64(sequence))

    def read_open(self) -> int:
        return int(self._library.read_open(self.stamp))

    def read_close(self, sequence: int) -> bool:
        return bool(self._library.read_close(self.stamp, ctypes.c_uint64(sequence)))

    def write(self, sequence: int) -> None:
        self.write_open(sequence)
        self.write_close(sequence)

    def round_trip(self, payload: bytes, offset: int) -> bytes:
        """Store from an address that is ``offset`` bytes off alignment, and load back."""
        source = (ctypes.c_char * 80)()
        source[offset : offset + len(payload)] = payload
        target = (ctypes.c_char * 80)()
        size = ctypes.c_size_t(len(payload))
        self._library.store(self.words, ctypes.byref(source, offset), size)
        self._library.load(ctypes.byref(target, offset), self.words, size)
        return bytes(target[offset : offset + len(payload)])


def check_laws(slot: Slot) -> None:
    """Assert what readers rely on."""
    slot.write(1)
    assert slot.read_open() == 1, "a completed slot shows its sequence"
    assert slot.read_close(1), "an undisturbed copy is accepted"
    slot.write_open(4)
    assert not slot.read_close(1), "a copy that a writer ran into is refused"
    assert slot.read_open() == 1, "an unfinished slot does not show the new sequence"
    slot.write_close(4)
    assert not slot.read_close(1), "a copy that was overtaken is refused"
    assert slot.read_open() == 4 and slot.read_close(4), "the new payload is accepted"
    slot.write_open(7)  # and the writer dies here
    assert not slot.read_close(slot.read_open()), "a slot that was never finished is refused"
    for size in range(25):
        for offset in (0, 1, 5):
            payload = bytes(range(1, size + 1))
            assert slot.round_trip(payload, offset) == payload, "bytes survive the words"


def test_slots_keep_their_laws(tmp_path):
    check_laws(Slot(tmp_path, HEADER))


@pytest.mark.parametrize("mutant", MUTANTS)
def test_laws_catch_the_mutant(tmp_path, mutant):
    old, new = MUTANTS[mutant]
    assert old in HEADER
    with pytest.raises(AssertionError):
        check_laws(Slot(tmp_path, HEADER.replace(old, new)))


@pytest.fixture(scope="module")
def stream_c(tmp_path_factory) -> Path:
    """Return the C that Cython makes of the stream."""
    pytest.importorskip("Cython", reason="Cython is not installed: no C to cross-compile")
    if shutil.which("aarch64-linux-gnu-gcc") is None:
        pytest.skip("aarch64-linux-gnu-gcc is not installed (apt: gcc-aarch64-linux-gnu)")
    target = tmp_path_factory.mktemp("stream") / "action_stream.c"
    root = BINDINGS.parent.parent if BINDINGS.parent.name == "dvla" else BINDINGS.parent
    command = [sys.executable, "-m", "cython", "-3", "-o", str(target)]
    subprocess.run([*command, "dvla/bindings/action_stream.pyx"], cwd=root, check=True)
    return target


def aarch64_instructions(stream_c: Path, header: str, folder: Path) -> dict[str, str]:
    """Cross-compile the stream and disassemble it, by function."""
    (folder / "slots.h").write_text(header)
    (folder / "stream.c").write_text(stream_c.read_text())
    include = Path(sysconfig.get_paths()["include"])
    # Debian's Python.h asks for a configuration per architecture; that of a 64-bit host will do.
    here = Path("/usr/include", sysconfig.get_config_var("MULTIARCH") or "", include.name)
    there = folder / "aarch64-linux-gnu" / include.name
    there.mkdir(parents=True)
    (there / "pyconfig.h").write_text(f'#include "{here / "pyconfig.h"}"\n')
    flags = ["-std=c11", "-O1", "-w", f"-I{folder}", f"-I{include}", "-c", "stream.c"]
    subprocess.run(["aarch64-linux-gnu-gcc", *flags], cwd=folder, check=True)
    listing = subprocess.run(
        ["aarch64-linux-gnu-objdump", "-d", "stream.o"],
        cwd=folder, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    functions = re.split(r"^[0-9a-f]+ <(.+)>:$", listing, flags=re.MULTILINE)
    return dict(zip(functions[1::2], functions[2::2], strict=True))


def check_barriers(functions: dict[str, str]) -> None:
    """Assert that publishing releases and reading acquires."""
    (read,) = (body for name, body in functions.items() if name.endswith("__read_slot"))
    (refresh,) = (body for name, body in functions.items() if name.endswith("refresh_nogil"))
    publish = "".join(body for name, body in functions.items() if "publish" in name)
    assert re.search(r"\bldap?r\b", refresh), "the newest sequence is loaded with acquire"
    assert re.search(r"\bldap?r\b", read), "`end` is loaded with acquire"
    assert re.search(r"\bdmb\s+ish", read), "`begin` is loaded after the payload"
    assert re.search(r"\bdmb\s+ish", publish), "the payload is stored after `begin`"
    assert len(re.findall(r"\bstlr\b", publish)) >= 2, "`end` and the newest are released"


def test_aarch64_has_the_barriers(stream_c, tmp_path):
    check_barriers(aarch64_instructions(stream_c, HEADER, tmp_path))


@pytest.mark.parametrize("order", ["memory_order_release", "memory_order_acquire"])
def test_missing_barriers_are_caught(stream_c, tmp_path, order):
    mutant = HEADER.replace(order, "memory_order_relaxed")
    with pytest.raises(AssertionError):
        check_barriers(aarch64_instructions(stream_c, mutant, tmp_path))
