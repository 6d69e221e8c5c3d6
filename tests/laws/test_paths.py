"""A path is what it says: patterns, blanks, letters of any kind and ~, everywhere."""

import functools
import os

import pytest

from eval import model_source
from launch import command_line, trainer_command
from tests.support.commands import TINY, result, run_command
from tests.support.flag_values import read
from trainer.cli import command
from trainer.config import parsing
from trainer.data.sources import tfds_preparation, tfds_source
from trainer.errors import InvalidInput
from trainer.rundir import layout

ODD = ["a[1]", "b *?", "c{x,y}$d", "läufe 走", "~", "-x", "#", "100%"]


@pytest.mark.parametrize("name", ODD)
def test_a_prepared_set_is_seen_wherever_it_lies(data_dir, tmp_path, name):
    (tmp_path / name).symlink_to(data_dir)
    builder = tfds_preparation.prepare("digits", str(tmp_path / name), say=pytest.fail)
    assert len(tfds_source.load_split(builder, "test").labels) == 360


def test_a_set_is_prepared_once_below_a_name_that_looks_like_a_pattern(tmp_path):
    said, where = [], str(tmp_path / "a[1]*")
    for _ in range(2):
        tfds_preparation.prepare("digits", where, say=said.append)
    assert len(said) == 1
    assert os.listdir(tmp_path) == ["a[1]*"]


def test_no_advice_destroys_what_may_be_good(tmp_path):
    (tmp_path / "digits" / "1.0.0").mkdir(parents=True)
    (tmp_path / "digits" / "1.0.0" / "thesis.txt").touch()
    with pytest.raises(InvalidInput, match="move it away") as raised:
        tfds_preparation.prepare("digits", str(tmp_path), say=print)
    assert "delete" not in str(raised.value)


HOMELESS = "~nobody-of-this-name/x"
USES = {
    "run_dir": lambda text: layout.open_run(text),
    "data_dir": lambda text: tfds_source.locate("digits", text),
    "model": lambda text: model_source.from_path(text),
    "trainer's run_dir": lambda text: read(f"--run_dir={text}"),
    "trainer's runs_root": lambda text: read(f"--runs_root={text}"),
    "trainer's data_dir": lambda text: read(f"--data_dir={text}"),
    "trainer's teacher": lambda text: read(f"--teacher={text}"),
    "out_dir": lambda text: parsing.parse_path("out_dir", text),
    "launch's run_dir": lambda text: trainer_command.absolute_run_dir(text),
}


@pytest.mark.parametrize("use", USES)
def test_a_home_that_is_not_known_makes_no_folder_of_its_name(use):
    with pytest.raises((InvalidInput, command_line.UsageError), match="home"):
        USES[use](HOMELESS)


@pytest.mark.parametrize("bad", ["", " ", "a\0b"])
@pytest.mark.parametrize("use", [u for u in USES if "launch" not in u])
def test_an_empty_path_is_none(use, bad):
    with pytest.raises(InvalidInput):
        USES[use](bad)


def test_home_is_expanded_in_every_command(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parsing.parse_path("model", "~/a") == tmp_path / "a"
    _, run_config = read("--run_dir=~/a", "--runs_root=~/b", "--data_dir=~/c")
    assert run_config.run_dir == f"{tmp_path}/a"
    assert run_config.runs_root == f"{tmp_path}/b"
    assert run_config.data_dir == f"{tmp_path}/c"
    assert trainer_command.absolute_run_dir("~/a") == f"{tmp_path}/a"
    tfds_preparation.prepare("digits", "~/data", say=print)
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.parametrize("char", "\n\r\t\x1b\x7f")
@pytest.mark.parametrize(
    "words",
    [
        ["trainer.main", "--run_dir=a{}b"],
        ["trainer.main", "--data_dir=a{}b"],
        ["trainer.prepare", "--data_dir=a{}b"],
        ["eval.report", "--out_dir=a{}b"],
        ["eval.compare", "a{}b", "c"],
        ["export.tflite", "--run_dir=a{}b"],
    ],
    ids=" ".join,
)
def test_a_control_character_is_refused_by_every_command(words, char):
    values = command.flags.FlagValues()
    with pytest.raises(InvalidInput, match="control character"):
        given = [word.format(char) for word in words]
        command.parse(values, given, words="A B")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_below_such_a_name_is_trained_judged_and_exported(tmp_path):
    start_anew = functools.partial(run_command, fresh=True, check=True)
    odd = tmp_path / "a[1] *?~ü{x}$"
    run_dir, model = odd / "runs" / "r[2]", odd / "runs" / "r[2]" / "export"
    train = [*TINY, f"--data_dir={odd / 'data'}", f"--run_dir={run_dir}"]
    start_anew("trainer.main", *train)
    assert result(run_dir)["finished"]
    where = f"--run_dir={run_dir}"
    start_anew("trainer.recheck", where)
    start_anew("eval.report", where, f"--out_dir={odd / 'r[3]'}")
    assert (odd / "r[3]" / "report.html").is_file()
    start_anew("export.tflite", f"--run_dir={odd / 'runs' / 'latest'}")
    start_anew("export.saved_model", where)
    files = [model / "model_float32.tflite", model / "saved_model" / "1"]
    words = [str(run_dir), *map(str, files), f"--out_dir={odd / 'c[4]'}"]
    start_anew("eval.compare", *words)
    assert (odd / "c[4]" / "comparison.html").is_file()
    assert sorted(os.listdir(tmp_path)) == [odd.name]
