"""What decides bits is recorded, compared, and named where it changed."""

import json

import pytest

from tests.support.commands import run_command, run_trainer
from trainer.distributed import environment

OLD = ("python", "packages", "processor", "threads", "onednn", "devices")


@pytest.fixture(scope="module")
def here():
    return environment.describe(2)


def changed(here, **to) -> str | None:
    return environment.describe_changes(here, {**here, **to})


def test_an_equal_environment_is_not_mentioned(here):
    assert environment.describe_changes(here, here) is None
    assert environment.describe_changes(json.loads(json.dumps(here)), here) is None
    assert {*environment.DECIDES_BITS} <= here.keys()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("threads", 3, "threads: 2 -> 3"),
        ("inter_op", 7, "inter_op: "),
        ("python", "2.7", "python: "),
        ("settings", {"ONEDNN_MAX_CPU_ISA": "AVX2"}, "MAX_CPU_ISA: None -> 'AVX2'"),
        ("cpu", {"instructions": "sse", "caches": ""}, "cpu.instructions: "),
        ("build", {"tensorflow": "v0", "compiler": "?"}, "build.tensorflow: "),
        ("devices", ["CPU", "H100"], "devices: "),
    ],
)
def test_what_decides_bits_is_named(here, field, value, said):
    line = changed(here, **{field: value})
    assert said in line
    assert "bits may not" in line
    assert "\n" not in line


@pytest.mark.parametrize("field", ["processor", "commit", "platform", "cores"])
def test_names_decide_nothing(here, field):
    assert changed(here, **{field: "another"}) is None


def test_an_older_record_is_compared_as_far_as_it_goes(here):
    old = {name: here[name] for name in OLD}
    said = environment.describe_changes(old, here)
    assert said.startswith("this run began before build, cpu, settings, inter_op were")
    said = environment.describe_changes({**old, "processor": "Z80"}, here)
    assert "processor: 'Z80' -> " in said.splitlines()[0]


@pytest.mark.parametrize(
    ("variables", "kept"),
    [
        ({}, {}),
        ({"ONEDNN_MAX_CPU_ISA": "avx2"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
        ({"DNNL_MAX_CPU_ISA": "AVX2"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
        (
            {"DNNL_MAX_CPU_ISA": "SSE41", "ONEDNN_MAX_CPU_ISA": "AVX2"},
            {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        ),
        ({"TF_ENABLE_ONEDNN_OPTS": "0"}, {"TF_ENABLE_ONEDNN_OPTS": "0"}),
        (
            {"ONEDNN_DEFAULT_FPMATH_MODE": "bf16"},
            {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"},
        ),
        ({"OMP_NUM_THREADS": "4", "HOME": "/"}, {"OMP_NUM_THREADS": "4"}),
        ({"ONEDNN_VERBOSE": "1"}, {}),
    ],
)
def test_settings_are_those_that_choose_kernels(variables, kept):
    assert environment._settings(variables) == kept


def test_the_instruction_sets_are_there(here):
    assert here["cpu"]["instructions"]
    assert "hypervisor" not in here["cpu"]["instructions"]


@pytest.mark.slow
def test_a_resume_and_a_recheck_name_another_instruction_set(
    data_dir, tmp_path, monkeypatch
):
    path, words = tmp_path / "run", ["--train_steps=2", "--warmup_epochs=0"]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    run_trainer(data_dir, path, *words, fresh=True, check=True)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    done = run_command("trainer.recheck", f"--run_dir={path}", fresh=True)
    assert done.returncode == 1
    assert "settings.ONEDNN_MAX_CPU_ISA: 'AVX2' -> None" in done.stderr
    (path / "result.json").unlink()
    done = run_trainer(data_dir, path, *words, fresh=True, check=True)
    assert "the environment changed (settings.ONEDNN_MAX_CPU_ISA" in done.stderr
