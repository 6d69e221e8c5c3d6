"""The table of every format: nothing is left out, and a failure is a row."""

import json
import pathlib
import types

import numpy as np
import pytest

from eval.formats import manifest, model_signature
from eval.predictors.engine import Kernels
from eval.reports import exported_files
from export import bench
from export.artifact import artifact, current_artifact
from export.artifact.number_formats import Io, Scheme
from export.lite import tflite_writer
from export.lite.tflite_options import TFLiteOptions
from export.measure import bench_document, benchmark, child_process, latency
from export.measure.targets.target import BenchOptions
from tests.support import eval_models, export_runs, forged_tflite
from tests.support.signed_exports import write_keys
from trainer import files
from trainer.errors import InvalidInput, TrainingFailed


def test_latency_asks_every_model_in_every_round():
    order, clock = [], iter(range(10**6))
    models = {name: lambda name=name: order.append(name) for name in "ab"}
    found = latency.measure_latencies(models, rounds=3, now=lambda: next(clock))
    each = latency.CALLS + 1
    assert order == ["a"] * each + ["b"] * each + order[2 * each :]
    assert order.count("a") == order.count("b") == 3 * each
    assert found["a"] == {"p50_ms": 1000, "p90_ms": 1000, "p99_ms": 1000}


def test_quantiles_are_of_single_calls():
    ticks = iter(np.cumsum([0] * 20 + [0, 1] * 5))
    found = latency.measure_latencies(
        {"a": lambda: None}, rounds=3, now=lambda: next(ticks)
    )
    assert found["a"]["p50_ms"] == 0 < found["a"]["p90_ms"] == 1000


def plain(folder, *names: str) -> dict[str, str]:
    """Small sound files by name."""
    paths = {name: folder / f"{name}.tflite" for name in names}
    return {name: str(eval_models.tflite(path)) for name, path in paths.items()}


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "place", [pytest.param(0, marks=SLOW), 1, pytest.param(2, marks=SLOW)]
)
def test_who_ends_the_process_is_a_row_and_the_others_are_timed(tmp_path, place):
    paths = plain(tmp_path, "a", "b", "c")
    evil = "abc"[place]
    model = pathlib.Path(paths[evil])
    model.write_bytes(forged_tflite.edited(model.read_bytes(), 181))
    made = [{"format": name, "path": path} for name, path in paths.items()]
    made += [{"format": "d", "failed": "before"}]
    benchmark.add_latencies(made, 1, "one_thread", Kernels.XNNPACK)
    assert made.pop() == {"format": "d", "failed": "before"}
    for found in made:
        if found["format"] == evil:
            assert found.keys() == {"format", "failed"}
            assert "SIGSEGV" in found["failed"] and model.name in found["failed"]
        else:
            assert found["one_thread"]["p50_ms"] > 0


def test_what_is_not_signed_is_refused_before_it_is_measured(tmp_path, monkeypatch):
    write_keys(tmp_path, "owner")
    made = artifact.Artifact(tmp_path / "model.tflite", {})
    made.path.write_bytes(b"a model")
    network = types.SimpleNamespace(is_rounded=False)
    inputs = types.SimpleNamespace(network=network, folder=tmp_path)
    monkeypatch.setattr(bench_document, "open_inputs", lambda _: inputs)
    monkeypatch.setattr(bench_document, "measure_run", pytest.fail)
    for found, told in ((made, "is not signed"), (None, "is not exported yet")):
        monkeypatch.setattr(current_artifact, "load_current", lambda *_, one=found: one)
        with pytest.raises(InvalidInput, match=told):
            bench_document.write_bench(None, BenchOptions(), tmp_path / "owner.pub")


def test_a_changed_file_is_named_though_others_are_missing(tmp_path, monkeypatch):
    write_keys(tmp_path, "owner")
    path = tmp_path / "model.tflite"
    for each in (path, tmp_path / "model.tflite.json"):
        each.write_bytes(b"{}")
    model_signature.sign(path, tmp_path / "owner.pem")
    path.write_bytes(b"another model")
    network = types.SimpleNamespace(is_rounded=False)
    inputs = types.SimpleNamespace(network=network, folder=tmp_path)
    monkeypatch.setattr(bench_document, "open_inputs", lambda _: inputs)
    monkeypatch.setattr(current_artifact, "load_current", lambda *_: None)
    with pytest.raises(InvalidInput, match="changed: model.tflite"):
        bench_document.write_bench(None, BenchOptions(), tmp_path / "owner.pub")


def test_every_export_of_the_run_must_be_signed(tmp_path, monkeypatch):
    write_keys(tmp_path, "owner")
    made = artifact.Artifact(tmp_path / "model.tflite", {})
    web = tmp_path / "web"
    web.mkdir()
    for path in (made.path, tmp_path / "model.tflite.json", web / "manifest.json"):
        path.write_bytes(b"{}")
    network = types.SimpleNamespace(is_rounded=False)
    inputs = types.SimpleNamespace(network=network, folder=tmp_path)
    monkeypatch.setattr(bench_document, "open_inputs", lambda _: inputs)
    monkeypatch.setattr(current_artifact, "load_current", lambda *_: made)
    model_signature.sign(made.path, tmp_path / "owner.pem")
    with pytest.raises(InvalidInput, match="web is not signed"):
        bench_document.write_bench(None, BenchOptions(), tmp_path / "owner.pub")


ENDS = {
    "os.kill(os.getpid(), signal.SIGKILL)": "SIGKILL at x.tflite: out of memory",
    "os.abort()": "SIGABRT at x.tflite",
    "sys.exit('no such kernel')": "failed at x.tflite: no such kernel",
    "time.sleep(60)": "took more than 3 s at x.tflite",
    "sys.exit(3)": "failed at x.tflite: exit code 3",
    "print('words', flush=True)": "found nothing at x.tflite",
}


@pytest.mark.parametrize(("end", "said"), ENDS.items())
def test_a_measurement_that_ends_says_at_which_file(monkeypatch, tmp_path, end, said):
    lines = ["import os, signal, sys, time", "from export.measure import child_process"]
    lines += [f"child_process.announce_turn('/a/{name}.tflite')" for name in "yx"] + [
        end
    ]
    (tmp_path / "ending.py").write_text("\n".join(lines))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    turns = []
    with pytest.raises(child_process.ChildFailed, match=said) as caught:
        child_process.run_module(
            "ending", on_turn=lambda: turns.append(1), timeout_secs=3
        )
    assert caught.value.path == "/a/x.tflite" and len(turns) == 2


def row(name: str, drop: float = 0.0, flips: int = 0) -> dict:
    agreement = 1 - flips / 100
    return {
        "format": name,
        "images": 100,
        "accuracy": 0.9 - drop,
        "accuracy_drop": drop,
        "accuracy_drop_interval": [drop / 2, 2 * drop],
        "flips": flips,
        "agreement": agreement,
        "agreement_interval": [agreement - 0.02, min(1, agreement + 0.02)],
    }


def test_the_gate_names_what_missed_it():
    benchmark.enforce_gates([row("checkpoint"), row("int8", 0.01, flips=5)], 0.01)
    rows = [row("float32"), row("int8", 0.02), {"format": "dynamic", "failed": "x"}]
    with pytest.raises(TrainingFailed, match="int8, dynamic .*max_accuracy_drop=0.01"):
        benchmark.enforce_gates(rows, 0.01)


def test_agreement_and_flips_are_part_of_the_gate():
    rows = [row("saved_model", flips=1), row("float32"), row("int8", flips=20)]
    with pytest.raises(TrainingFailed, match="^saved_model, int8 failed or missed"):
        benchmark.enforce_gates(rows, 0.01)


def test_a_file_of_other_labels_or_kernels_is_made_again():
    opened = export_runs.opened("--max_accuracy_drop=0.05")
    options = TFLiteOptions(Scheme.DYNAMIC, Io.UINT8)
    made = tflite_writer.write_tflite(opened, options)
    known = current_artifact.load_current(opened, "dynamic")
    assert known.manifest == made.manifest
    reference = export_runs.opened("--kernels=reference")
    assert current_artifact.load_current(reference, "dynamic") is None
    other = made.manifest | {"labels": made.manifest["labels"][::-1]}
    files.write_json(manifest.manifest_path(made.path), other)
    assert current_artifact.load_current(opened, "dynamic") is None


@pytest.mark.slow
def test_every_format_has_a_row_and_a_failure_has_a_reason(capsys):
    folder = export_runs.opened().folder
    folder.mkdir(exist_ok=True)
    for path in folder.glob("model_int8.tflite*"):
        path.unlink()
    (folder / "model_int8.tflite.json").mkdir()  # its manifest cannot be written
    words = [f"--run_dir={export_runs.run()}", "--max_accuracy_drop=0.05"]
    words += ["--targets=none"]
    with pytest.raises(TrainingFailed, match="^int8 failed"):
        bench.main(export_runs.parsed(bench.define, *words))
    printed = capsys.readouterr().out
    (folder / "model_int8.tflite.json").rmdir()
    found = json.loads((folder / bench_document.BENCH_FILE).read_text())
    assert found["version"] == 2 and found["skipped"] == {}
    assert found["recommended"] in ("float16", "dynamic", "float32")
    assert all((folder / f"bench.{kind}").is_file() for kind in ("png", "svg"))
    assert max(map(len, printed.splitlines()[1:])) <= 100
    names = [r["format"] for r in found["rows"]]
    assert names == ["checkpoint", "saved_model", *(s.value for s in Scheme)]
    for r in found["rows"]:
        assert r["format"] in printed
        if r["format"] == "int8":
            assert "model_int8.tflite.json is a folder" in r["failed"]
            continue
        assert r["bytes"] > 1000 and r["load_ms"] > 0 and r["peak_memory_bytes"] > 0
        litert = r["format"] not in ("checkpoint", "saved_model")
        assert r["engine"].get("kernels") == ("xnnpack" if litert else None)
        for key in ("one_thread", "all_threads"):
            assert 0 < r[key]["p50_ms"] <= r[key]["p90_ms"] <= r[key]["p99_ms"]
    shown = exported_files.list_exports(export_runs.opened().run)
    assert {"model_float32.tflite"} <= {entry["file"] for entry in shown}
    assert artifact.load_artifact(folder / "model_float32.tflite") is not None


@pytest.mark.parametrize(
    ("known", "target", "rows"),
    [
        (["float32", "int8"], "none", ["int8"]),
        # The processes of the checkpoint load TensorFlow, for tens of seconds.
        pytest.param(
            benchmark.FORMATS,
            "compiled",
            ["checkpoint", "int8", "int8_compiled"],
            marks=SLOW,
        ),
    ],
    ids=["without_checkpoint", "whole"],
)
def test_formats_that_are_asked_for_are_measured_alone(
    tmp_path, monkeypatch, capsys, known, target, rows
):
    monkeypatch.setattr(benchmark, "FORMATS", known)
    path = export_runs.copied(tmp_path)
    words = [f"--run_dir={path}", "--max_accuracy_drop=0.05", f"--targets={target}"]
    bench.main(export_runs.parsed(bench.define, *words, "--formats=int8"))
    found = json.loads((path / "export" / bench_document.BENCH_FILE).read_text())
    assert [r["format"] for r in found["rows"]] == rows
    assert all(r["one_thread"]["p50_ms"] > 0 for r in found["rows"])
    assert found["recommended"] == "int8"
    assert "float32" not in capsys.readouterr().out
    made = [each.name for each in (path / "export").glob("*model*.tflite")]
    assert made == ["model_int8.tflite"] and not (path / "export/saved_model").exists()


def test_formats_of_a_run_that_rounds():
    network = types.SimpleNamespace(is_rounded=True)
    inputs = types.SimpleNamespace(network=network)
    rounded = ["checkpoint", "saved_model", "float32", "int8"]
    assert benchmark.list_formats(inputs, BenchOptions()) == rounded
    asked = BenchOptions(formats=("int8",))
    assert benchmark.list_formats(inputs, asked) == ["checkpoint", "int8"]
    network.is_rounded = False
    assert benchmark.list_formats(inputs, BenchOptions()) == list(benchmark.FORMATS)


def test_a_file_that_crashes_is_a_row_that_names_it(tmp_path):
    opened = export_runs.open_inputs(f"--run_dir={export_runs.copied(tmp_path)}")
    made, final = tmp_path / "made", opened.folder / "model_float32.tflite"
    opened.folder.mkdir()
    plain = eval_models.tflite(tmp_path / "plain.tflite").read_bytes()
    test = dict.fromkeys(["accuracy", "nll", "ece", "agreement", "accuracy_drop"], 0.5)
    test |= {
        "images": len(opened.verification_set.labels),
        "accuracy_interval": [0.4, 0.6],
    }
    engine = {"name": "LiteRT", "delegate": None, "kernels": "xnnpack"}
    test |= {"flips": 0, "engine": engine, "sampled": False}
    test |= {"accuracy_drop_interval": [0.4, 0.6], "agreement_interval": [0.4, 0.6]}
    facts = opened.facts() | {"abstain": {}}
    older = {key: test[key] for key in test if key != "accuracy_drop_interval"}
    for odd in ([1], {"images": 3}, test | {"nll": "x"}, test | {"engine": [1]}, older):
        made.write_bytes(plain)
        artifact.publish_file(made, final, facts | {"test": odd})
        assert current_artifact.load_current(opened, "float32") is None
    made.write_bytes(forged_tflite.edited(plain, 181))
    artifact.publish_file(made, final, facts | {"test": test})
    row = benchmark._measure_format(opened, "float32")
    assert str(final) in row["failed"] and "SIGSEGV" in row["failed"]
