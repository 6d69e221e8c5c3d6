"""A script's exports are those of the commands."""

import importlib.util

import pytest

import trainer
from export import saved_model, tflite
from export.artifact import artifact
from export.artifact.export_options import VerificationOptions
from export.measure import benchmark
from tests.support import export_runs
from trainer.errors import InvalidInput

LIMITS = VerificationOptions(max_accuracy_drop=0.02)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return export_runs.copied(tmp_path_factory.mktemp("exporting"))


@pytest.fixture(scope="module")
def digits():
    return trainer.data.from_tfds("digits", str(export_runs.data()))


@pytest.mark.parametrize(
    "words",
    [{"quantize": True}, pytest.param({"scheme": "float16"}, marks=pytest.mark.slow)],
)
def test_a_tflite_has_the_bytes_of_the_command(run, digits, words):
    ours = trainer.export_tflite(run, digits, **words, verification=LIMITS)
    content = ours.path.read_bytes()
    assert artifact.load_artifact(ours.path) is not None
    assert f"{ours.manifest['test']['accuracy']:.2%}" in repr(ours)
    flags = [f"--{name}={value}" for name, value in words.items()]
    where = [f"--run_dir={run}", "--max_accuracy_drop=0.02"]
    tflite.main(export_runs.parsed(tflite.define, *where, *flags))
    assert ours.path.read_bytes() == content
    theirs = artifact.load_artifact(ours.path).manifest
    assert theirs["sha256"] == ours.manifest["sha256"]


def test_a_saved_model_has_the_manifest_of_the_command(run, digits):
    ours = trainer.export_saved_model(run, digits)
    saved_model.main(export_runs.parsed(saved_model.define, f"--run_dir={run}"))
    theirs = artifact.load_artifact(ours.path.with_name("2"))
    assert (run / "export" / "saved_model" / "1") == ours.path
    same = ("test", "weights_sha256", "data_sha256", "test_sha256", "temperature")
    assert all(ours.manifest[key] == theirs.manifest[key] for key in same)


@pytest.mark.parametrize(
    ("known", "formats"),
    [
        (["float32", "int8"], ["float32"]),
        # Its processes load TensorFlow, for tens of seconds.
        pytest.param(
            benchmark.FORMATS, ["checkpoint", "float32"], marks=pytest.mark.slow
        ),
    ],
)
def test_a_format_is_measured_as_the_command_does(
    run, digits, monkeypatch, known, formats
):
    monkeypatch.setattr(benchmark, "FORMATS", known)
    rows = trainer.benchmark(
        run, digits, formats=["float32"], targets=["none"], verification=LIMITS
    )
    assert [row["format"] for row in rows] == formats
    assert all(row["one_thread"]["p50_ms"] > 0 for row in rows)
    assert (run / "export" / "bench.json").is_file()


def test_c_source_is_written_or_says_what_it_needs(run, digits):
    with pytest.raises(InvalidInput, match="scheme=float16 has no kernels"):
        trainer.export_micro(run, digits, scheme="float16")
    if importlib.util.find_spec("tflite_micro"):
        made = trainer.export_micro(run, digits, verification=LIMITS)
        assert (made.path / "model.c").is_file()
    else:
        with pytest.raises(InvalidInput, match="pip install tflite-micro"):
            trainer.export_micro(run, digits)


REFUSED = {
    "scheme=int4 must be one of float32, float16": {"scheme": "int4"},
    "quantize=True means scheme=int8": {"quantize": True, "scheme": "float16"},
    "io=int8 is not available": {"io": "int8"},
    "got list": {"data": []},
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_is_refused(run, said):
    before = sorted(run.rglob("*"))
    with pytest.raises(InvalidInput, match=said):
        trainer.export_tflite(run, **REFUSED[said])
    assert sorted(run.rglob("*")) == before
