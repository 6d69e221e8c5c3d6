"""Run directories: names, the link to the newest, what is admitted and what refused."""

import pytest

from tests.support.run_directories import begin
from trainer.config.enums import Resume
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config, ModelConfig
from trainer.errors import InvalidInput
from trainer.rundir import checks, layout
from trainer.rundir.layout import Run


def test_a_name_that_no_disk_can_hold_is_wrong_usage(tmp_path):
    long = tmp_path / ("a" * 300)
    with pytest.raises(InvalidInput, match="no run in"):
        layout.open_run(str(long))
    with pytest.raises(InvalidInput, match="File name too long; name another"):
        checks.check_can_start(Run(long), Config(), RunConfig())


def test_a_finished_run_need_not_be_writable(tmp_path, monkeypatch):
    run = begin(tmp_path / "a")
    monkeypatch.setattr(layout.os, "access", lambda *_: False)
    with pytest.raises(InvalidInput, match="no permission to write"):
        checks.check_can_start(run, Config(), RunConfig())
    (run.path / "result.json").write_text("{}")
    checks.check_can_start(run, Config(), RunConfig())


def test_the_link_follows_the_newest_run(tmp_path):
    for name in ("a", "b"):
        layout.update_latest(begin(tmp_path / name))
        assert layout.open_run(None, root=str(tmp_path)).path == tmp_path / name


def test_latest_is_resumed_as_the_run_it_means(tmp_path):
    layout.update_latest(begin(tmp_path / "a"))
    given = RunConfig(run_dir=str(tmp_path / "latest"))
    assert layout.choose_directory(Config(), given) == tmp_path / "a"
    layout.update_latest(Run(tmp_path / "a"))
    assert layout.open_run(None, root=str(tmp_path)).path == tmp_path / "a"


def test_what_is_not_a_link_to_a_run_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "latest").symlink_to("mine")
    layout.update_latest(begin(tmp_path / "a"))
    assert (tmp_path / "latest").resolve() == tmp_path / "mine"
    other = tmp_path / "other"
    (other / "latest").mkdir(parents=True)
    layout.update_latest(begin(other / "a"))
    assert (other / "latest").is_dir()


def test_the_run_of_a_lambda_has_a_usable_name(tmp_path):
    config = Config(model=ModelConfig(name="<lambda>"))
    path = layout.choose_directory(config, RunConfig(runs_root=str(tmp_path)))
    assert path.name.endswith("-network-cifar10")


def test_runs_of_one_second_have_names_of_their_own(tmp_path):
    root = RunConfig(runs_root=str(tmp_path))
    first = layout.choose_directory(Config(), root)
    first.mkdir()
    assert layout.choose_directory(Config(), root) != first


@pytest.mark.parametrize("content", ["[]", "null", '"x"', "3", "{", '{"config": []}'])
def test_a_damaged_config_is_named(tmp_path, content):
    run = begin(tmp_path / "a")
    (run.path / "config.json").write_text(content)
    with pytest.raises(InvalidInput, match="config.json"):
        checks.check_can_start(run, Config(), RunConfig())


def test_a_path_inside_a_run_is_answered_with_the_run(tmp_path):
    run = begin(tmp_path / "a")
    for path in (run.path / "export", run.path / "config.json", run.path / "b" / "c"):
        with pytest.raises(InvalidInput, match=f"around it with `run_dir`: {run.path}"):
            layout.open_run(str(path))


NO_RESULTS = [
    "[]",
    "{}",
    "{",
    '{"test_accuracy_interval": 5}',
    '{"test_accuracy_interval": [0, 1]}',
    '{"test_accuracy_interval": [0, 1], "test_accuracy": "x"}',
]


@pytest.mark.parametrize("content", NO_RESULTS)
def test_a_damaged_result_is_named(tmp_path, content):
    run = begin(tmp_path / "a")
    (run.path / "result.json").write_text(content)
    with pytest.raises(InvalidInput, match="result.json") as caught:
        layout.format_summary(run, run.result())
    assert str(caught.value).count("\n") == 1  # the second line is the remedy


def test_another_config_is_refused_by_naming_its_fields(tmp_path):
    run = begin(tmp_path / "a", Config(seed=3))
    with pytest.raises(InvalidInput, match="seed: 3 != 0"):
        checks.check_can_start(run, Config(), RunConfig())
    checks.check_can_start(
        run, Config(seed=3), RunConfig(logical_devices=None, threads=2)
    )
    with pytest.raises(InvalidInput, match="resume=never"):
        checks.check_can_start(run, Config(seed=3), RunConfig(resume=Resume.NEVER))


@pytest.mark.parametrize("name", ["checkpoints", "tensorboard", "workers"])
@pytest.mark.parametrize("kind", ["a file", "a dangling link"])
def test_what_is_no_directory_is_named(tmp_path, name, kind):
    run = begin(tmp_path / "a")
    path = run.path / name
    path.touch() if kind == "a file" else path.symlink_to("nowhere")
    with pytest.raises(
        InvalidInput, match=f"{path} is {kind} and should be a directory"
    ):
        checks.check_can_start(run, Config(), RunConfig())
    path.unlink()
    path.mkdir()
    checks.check_can_start(run, Config(), RunConfig())


@pytest.mark.parametrize("name", ["metrics.jsonl", "result.json", "environment.json"])
def test_what_is_no_file_is_named(tmp_path, name):
    run = begin(tmp_path / "a")
    (run.path / name).mkdir()
    with pytest.raises(
        InvalidInput, match=f"{name} is a directory and should be a file"
    ):
        checks.check_can_start(run, Config(), RunConfig())


def test_the_link_leads_to_all_but_event_files(tmp_path):
    """TensorBoard follows links, and would show the newest run a second time."""
    for name in ("a", "b"):
        run = begin(tmp_path / name)
        (run.path / "events.out.tfevents.1").touch()
        layout.update_latest(run)
    (run.path / "report").mkdir()
    (run.path / "report" / "report.html").write_text("of b")
    latest = tmp_path / "latest"
    assert (latest / "report" / "report.html").read_text() == "of b"
    assert not list(latest.glob("events*"))
    assert [path.name for path in (tmp_path / layout.LINKS).iterdir()] == ["b"]
    assert layout.open_run(str(latest)).path == run.path


def test_event_files_of_older_releases_stay_in_their_folder(tmp_path):
    run = begin(tmp_path / "a")
    assert run.tensorboard == run.path
    (run.path / "tensorboard").mkdir()
    assert run.tensorboard == run.path / "tensorboard"
