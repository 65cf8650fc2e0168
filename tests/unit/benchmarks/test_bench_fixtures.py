"""What a latency benchmark measures: found, made once, or refused."""

import shutil

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from bundle_tools import tiny_bundle

from dvla.benchmarks import fixtures
from dvla.engines.errors import BundleError, UsageError


def find(bundle=None, synthetic=None, backends=("onnxruntime",)):
    return fixtures.find_subject(bundle, synthetic, backends, lambda _line: None)


def test_wrong_subjects_are_refused(tmp_path):
    with pytest.raises(UsageError, match="neither a bundle nor"):
        find()
    with pytest.raises(UsageError, match="both a bundle"):
        find(tmp_path, "tiny")
    with pytest.raises(UsageError, match="'huge'"):
        find(synthetic="huge")
    with pytest.raises(BundleError, match="not a bundle"):
        find(tmp_path / "none")
    with pytest.raises(UsageError, match="Unknown backend"):
        find(tiny_bundle(), backends=("abacus",))
    with pytest.raises(UsageError, match="Unknown backend"):
        find(synthetic="tiny", backends=("abacus",))


def test_the_synthetic_bundle_is_made_once(tmp_path, monkeypatch):
    from dvla.export import build, synthetic

    made = []

    def export(_checkpoint, output, options, _progress):
        made.append(options.overwrite)
        shutil.copytree(tiny_bundle(), output, dirs_exist_ok=True)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "export_bundle", export)
    monkeypatch.setattr(synthetic, "synthetic_checkpoint", lambda _size, _folder: None)
    subject = find(synthetic="tiny")
    assert subject.bundle.is_relative_to(tmp_path) and subject.checkpoint is not None
    assert find(synthetic="tiny") == subject and made == [True]
    # A bundle of other code is made anew, and so is one that cannot be read.
    digest = fixtures.source_digest()
    monkeypatch.setattr(fixtures, "source_digest", lambda: "other")
    assert digest != "other" and find(synthetic="tiny") == subject and len(made) == 2
    (subject.bundle / "manifest.json").write_text("{")
    assert find(synthetic="tiny") == subject and len(made) == 3


def test_one_process_makes_the_synthetic_bundle(tmp_path, monkeypatch):
    """Another one that wants it too waits: the folder is locked for as long."""
    import fcntl
    import os
    import shutil

    from dvla.export import build, synthetic

    def refuse_a_second():
        handle = os.open(tmp_path / "dvla" / "bench" / "tiny", os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)
        asked.append(True)

    def export(_checkpoint, output, _options, _progress):
        refuse_a_second()
        shutil.copytree(tiny_bundle(), output)

    asked = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "export_bundle", export)
    monkeypatch.setattr(synthetic, "synthetic_checkpoint", lambda *_: refuse_a_second())
    find(synthetic="tiny")
    assert asked == [True, True]
