"""A run as plain C99: proven on the test split, whole or not at all."""

import pathlib
import shlex
import subprocess

import pytest
from PIL import Image

from eval.predictors.engine import Kernels
from export import micro
from export.artifact import artifact
from export.artifact.number_formats import Scheme
from export.examples import next_step
from export.lite import metadata_writer
from export.microcontroller.micro_formats import MicroOptions, Runtime
from export.microcontroller.standalone import host_check, standalone_writer
from tests.support import (
    c_projects,
    export_runs,
    operator_cases,
    operator_files,
    program_facts,
)
from trainer.errors import InvalidConfig, InvalidInput, TrainingFailed

OPTIONS = MicroOptions(Runtime.STANDALONE, vectors=5)
LIMITS = ("--verify_sample=30", "--max_accuracy_drop=1")


@c_projects.needs_compiler
def test_a_run_is_written_proven_and_described():
    inputs = export_runs.opened(*LIMITS)
    made = standalone_writer.write_standalone(inputs, OPTIONS)
    assert made.path == inputs.folder / "micro" / "standalone"
    found = artifact.load_artifact(made.path).manifest
    assert found["host"]["different"] == 0 and found["host"]["images"] == 30
    assert found["test"]["engine"]["kernels"] == Kernels.REFERENCE.value
    assert found["arena_bytes"] > 0 and found["flash"]["constants"] > 0
    assert "30 of 30 images byte for byte" in standalone_writer.memory_summary(made)
    assert f"{found['arena_bytes']:,}" in (made.path / "README.md").read_text()
    done = c_projects.build_and_run(made.path)
    assert done.stdout == "5 of 5 vectors equal\n" and done.returncode == 0
    header, readme = ((made.path / n).read_text() for n in ("model.h", "README.md"))
    for key, entry in found["abstain"].items():
        name = f"MODEL_THRESHOLD_{key[2:]}"
        assert f"`{name}`: " in readme and name in header
        defined = entry["threshold"] is not None
        assert (f"#define {name} {entry['quantized']}\n" in header) == defined
    check_program(made, inputs)


def check_program(made, inputs):
    """The next step that the export names builds a program that classifies pictures."""
    shown = inputs.verification_set
    command = next_step.describe(made).removeprefix("next: ")
    build, run = command.split(" && ")
    subprocess.run(shlex.split(build), check=True, capture_output=True)
    raw = c_projects.answer(made.path, shown.images[:3]) / 256
    for number, probabilities in enumerate(raw):
        path = made.path / f"{number}.ppm"
        Image.fromarray(shown.images[number]).save(path)
        done = subprocess.run(
            [*shlex.split(run)[:1], path], capture_output=True, text=True
        )
        words = program_facts.in_words(made.manifest, probabilities)
        assert done.stdout == f"{path}  {words}\n"


def test_no_compiler_is_needed_and_it_is_said_that_nothing_was_run(monkeypatch, capfd):
    monkeypatch.setattr(host_check, "find_compiler", lambda: None)
    inputs = export_runs.opened(*LIMITS)
    made = standalone_writer.write_standalone(inputs, OPTIONS)
    assert made.manifest["host"] is None
    assert "no C compiler" in capfd.readouterr().err
    assert "It was not compiled" in (made.path / "README.md").read_text()


@c_projects.needs_compiler
def test_an_unequal_program_is_not_kept(monkeypatch, tmp_path):
    inputs = export_runs.opened(*LIMITS)
    before = sorted(inputs.folder.rglob("*"))
    run = host_check.run_program

    def wrong(*words):
        found = run(*words)
        found.answers.flags.writeable = True
        found.answers[3] ^= 1
        return found

    monkeypatch.setattr(host_check, "run_program", wrong)
    with pytest.raises(TrainingFailed, match="answers 1 of 30 images unlike"):
        standalone_writer.write_standalone(inputs, OPTIONS)
    assert sorted(inputs.folder.rglob("*")) == before


def test_files_that_cannot_become_c_are_refused(tmp_path):
    path = tmp_path / "a.tflite"
    for content, told in (
        (b"", "damaged or no .tflite model: it is empty"),
        (b"nothing", "damaged"),
        (operator_cases.float_end(), "output of float32.*needs an int8 file"),
        (operator_cases.without_kernel(), "operator ABS has no kernel"),
    ):
        path.write_bytes(content)
        with pytest.raises(InvalidInput, match=told):
            standalone_writer.check_file(path)
    with pytest.raises(InvalidInput, match="cannot be read"):
        standalone_writer.check_file(tmp_path)
    path.write_bytes(operator_cases.padded())
    options = MicroOptions(Runtime.STANDALONE, file=path)
    with pytest.raises(InvalidInput, match="name a file of this run"):
        standalone_writer.write_standalone(export_runs.opened(*LIMITS), options)


@pytest.mark.parametrize(
    "said",
    [
        {"weights_sha256": "0" * 64},
        {"temperature": "uncalibrated"},
        {"labels": list("1023456789")},
    ],
)
def test_a_file_that_says_it_is_of_another_run_is_refused(said, tmp_path):
    path = tmp_path / "a.tflite"
    path.write_bytes(metadata_writer.append_provenance(operator_cases.padded(), said))
    options = MicroOptions(Runtime.STANDALONE, file=path)
    told = f"not of this run .*: its {next(iter(said))} is .*\nname a file of this run"
    with pytest.raises(InvalidInput, match=told):
        standalone_writer.write_standalone(export_runs.opened(*LIMITS), options)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--runtime=standalone", "--scheme=int16x8"], "computes in int8"),
        (["--file=a.tflite"], "for runtime=standalone alone"),
        (["--vectors=0"], "must be within 1 to 1000"),
    ],
)
def test_options_that_contradict_each_other_are_refused(words, told):
    with pytest.raises(InvalidConfig, match=told):
        micro.parse_options(export_runs.parsed(micro.define, *words))


def test_the_options_are_those_of_the_command_line():
    words = ["--runtime=standalone", "--vectors=3", "--file=a.tflite"]
    found = micro.parse_options(export_runs.parsed(micro.define, *words))
    file = pathlib.Path("a.tflite")
    assert found == MicroOptions(Runtime.STANDALONE, Scheme.INT8, 3, file)
    assert found.folder == "standalone"


def test_a_compiler_that_fails_is_told_in_its_own_words(tmp_path):
    (tmp_path / "model.c").write_text("int x = 1 +;\n")
    (tmp_path / "model.h").write_text("")
    if host_check.find_compiler() is None:
        pytest.skip("no C compiler")
    with pytest.raises(TrainingFailed, match="status 1: .*error(.|\n)*variable CC"):
        host_check.run_program(tmp_path, operator_files.random_images(1, (2, 2, 1)))
    assert subprocess.run(["ls", tmp_path], capture_output=True).stdout.split() == [
        b"model.c",
        b"model.h",
    ]
