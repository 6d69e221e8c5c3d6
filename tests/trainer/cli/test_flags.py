"""Flags: a frozen list, groups, hints, and every bad value named before TensorFlow."""

import json
import pathlib
import subprocess
import sys
import time

import pytest
from absl import flags as absl_flags

from tests.support.commands import PROGRESS, ROOT, run_command
from tests.support.flag_values import read
from trainer.cli import command, flags
from trainer.config.enums import Augment, Precision, Strategy
from trainer.config.schema import Config
from trainer.errors import InvalidInput


def test_the_flags_are_those_of_the_docs():
    """Change the schema, then: python -m trainer.cli.flags > docs/flags.md."""
    assert flags.document() == (ROOT / "docs" / "flags.md").read_text()


@pytest.mark.parametrize("old", flags.RENAMED)
def test_a_name_of_an_earlier_release_is_refused_with_todays(old, tmp_path):
    file = tmp_path / "x.flags"
    file.write_text(f"--{old}=3\n")
    now = flags.RENAMED[old]
    for word in (f"--{old}=3", f"--{old}", f"--flagfile={file}"):
        with pytest.raises(InvalidInput, match=f"--{old} .*: --{now}$"):
            read(word)
    assert now.partition("=")[0] in flags.define(absl_flags.FlagValues())


REFUSED = {
    "--dry_run=maybe": "^--dry_run=maybe is neither true nor false; write --dry_run or",
    "--flagfile=/no/file": "^--flagfile=/no/file cannot be read: No such file or",
    "--flagfile=/": "^--flagfile=/ cannot be read: Is a directory",
    "--zzz=3": "'zzz'; --help lists the flags",
}


@pytest.mark.parametrize("word", REFUSED)
def test_what_absl_says_in_its_own_words_is_said_in_ours(word):
    with pytest.raises(InvalidInput, match=REFUSED[word]):
        read(word)


def test_a_file_that_is_no_text_is_no_flagfile(tmp_path):
    (tmp_path / "x").write_bytes(b"--epochs=3\n\xff")
    with pytest.raises(InvalidInput, match="--flagfile names a file that is no text"):
        read(f"--flagfile={tmp_path / 'x'}")


def test_a_typo_gets_the_nearest_flag():
    with pytest.raises(InvalidInput, match="epochs"):
        read("--epoch=3")


def test_no_flags_are_the_default_config():
    config, run_config = read()
    assert config == Config()
    assert run_config.strategy is Strategy.ONE_DEVICE


def test_flags_reach_the_config(tmp_path):
    file = tmp_path / "x.flags"
    file.write_text("# a comment\n--augment=flip\n--epochs=9.9\n")
    config, run_config = read(f"--flagfile={file}", "--precision=mixed_bfloat16")
    assert config.data.augment is Augment.FLIP
    assert config.epochs == 9.9
    assert config.precision is Precision.MIXED_BFLOAT16
    assert run_config.run_dir is None


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.flags")))
def test_every_experiment_is_readable_and_says_what_it_gives(path: pathlib.Path):
    read(f"--flagfile={path}")
    assert path.read_text().startswith("# ")


def test_flags_txt_gives_the_same_config_again(tmp_path):
    values = flags.define(absl_flags.FlagValues())
    words = [
        "--epochs=7",
        "--nodeterministic",
        "--model_kwargs=dropout=0",
        "--ema_decay=0.99",
    ]
    command.parse(values, ["trainer.main", *words])
    file = tmp_path / "flags.txt"
    file.write_text(flags.flag_file(values))
    assert "resume" not in file.read_text()  # `never` would refuse the run it names
    assert read(f"--flagfile={file}")[0] == flags.read_configs(values)[0]


def test_flags_txt_repeats_a_run_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text("def net(x, num_classes):\n    return x\n")
    monkeypatch.chdir(tmp_path)
    values = flags.define(absl_flags.FlagValues())
    words = ["--data_dir=data", "--model=net.py:net", "--runs_root=mine"]
    command.parse(values, ["trainer.main", *words])
    config, run_config = flags.read_configs(values)
    (tmp_path / "flags.txt").write_text(flags.flag_file(values))
    monkeypatch.chdir("/")
    again = read(f"--flagfile={tmp_path / 'flags.txt'}")
    assert again == (config, run_config)
    assert run_config.data_dir == str(tmp_path / "data")
    bucket = flags.define(absl_flags.FlagValues())
    command.parse(bucket, ["trainer.main", "--data_dir=gs://b/data"])
    assert "--data_dir=gs://b/data\n" in flags.flag_file(bucket)


@pytest.mark.parametrize(
    "word", ["--model=nets.pyramid:net", "--init_from=imagenet", "--model=cnn"]
)
def test_flags_txt_keeps_what_is_no_path(word):
    values = flags.define(absl_flags.FlagValues())
    command.parse(values, ["trainer.main", word])
    assert f"{word}\n" in flags.flag_file(values)


def test_config_survives_json():
    config, _ = read("--optimizer=sgd", "--momentum=0.8", "--schedule=triangle")
    assert Config.from_json(config.to_json()) == config
    bent, _ = read("--model=speednet", "--model_kwargs=activation=gelu,whiten=false")
    assert Config.from_json(json.loads(json.dumps(bent.to_json()))) == bent
    older = config.to_json()  # than an option that it does not name
    del older["data"]["flip"]
    assert Config.from_json(older) == config
    with pytest.raises(ValueError, match="colour.* is no field"):
        Config.from_json(config.to_json() | {"colour": "blue"})


def test_a_config_of_the_first_version_is_refused():
    older = Config().to_json()
    assert older.pop("version") == 2
    with pytest.raises(ValueError, match="version 1.*use the release that made it"):
        Config.from_json(older)


@pytest.mark.parametrize(
    "raised",
    [
        pytest.param("KeyboardInterrupt", marks=pytest.mark.slow),
        "ImportError from KeyboardInterrupt()",
    ],
)
def test_ctrl_c_is_told_although_start_up_is_quiet(raised):
    """Also where a native module was just being imported."""
    program = (
        "from absl import flags\nfrom trainer.cli import command\n"
        "from trainer.monitoring import native_output\n"
        f"def main():\n    with native_output.suppress_native_stderr():\n"
        f"        raise {raised}\n"
        "command.run('x', '', flags.FlagValues(), main)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    said = PROGRESS.sub("", done.stderr)
    assert (done.returncode, said) == (130, "x: stopped by SIGINT\n")


def test_help_lists_every_flag_under_a_heading_and_exits_0():
    done = run_command("trainer.main", "--help", fresh=True)
    assert done.returncode == 0
    for name in flags.define(absl_flags.FlagValues()):
        assert f"--{name}" in done.stdout or f"--[no]{name}" in done.stdout
    for heading in ("Data:", "Model:", "Optimizer:", "Schedule:", "Run directory:"):
        assert heading in done.stdout.splitlines()


def test_wrong_usage_is_found_without_tensorflow(tmp_path):
    code = (
        "import sys\nfrom trainer import main\nfrom trainer.cli import command, flags\n"
        "sys.argv = ['trainer.main', '--epochs=0']\n"
        "try: command.run('trainer.main', '', flags.define(), main.main)\n"
        "finally: print([m for m in ('tensorflow', 'keras') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout.strip() == "[]"
    assert "Traceback" not in done.stderr


def test_wrong_usage_takes_under_a_second_of_processor_time():
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    done = run_command("trainer.main", "--epochs=0", fresh=True)
    assert done.returncode == 2
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 1, f"{spent:.2f} s, {time.monotonic() - started:.2f} s on the wall"
