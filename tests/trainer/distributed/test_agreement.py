"""Workers that differ in anything that decides the result train nothing: exit 2."""

import dataclasses
import re
import shutil

import numpy as np
import pytest

from tests.support.commands import ROOT, run_command
from tests.support.image_folders import write_classes, write_image
from tests.support.multi_worker import finish, start_in
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config
from trainer.distributed import agreement

ALONE = ["--validation_fraction=0", "--train_steps=4", "--warmup_epochs=0"]


def test_every_field_of_a_job_is_compared_and_none_of_a_machine(monkeypatch):
    cluster = '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'
    monkeypatch.setenv("TF_CONFIG", cluster)
    found = agreement.facts(Config(), RunConfig())
    assert found["config"] == Config().to_json()
    fields = {field.name for field in dataclasses.fields(RunConfig)}
    assert fields > agreement.OWN
    assert set(found["run"]) == fields - agreement.OWN
    assert found["cluster"] == ["a:1"]


def digests(learnt=5, **changes) -> dict[str, int]:
    data = {
        "name": "digits",
        "image_shape": [8, 8, 1],
        "labels": ["0", "1"],
        "sha256": {"train": "ab", "test": "cd"},
    }
    return agreement.data_digests(data | changes, np.arange(learnt))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "mnist"}, "name"),
        ({"image_shape": [8, 8, 3]}, "image_shape"),
        ({"labels": ["1", "0"]}, "labels"),
        ({"sha256": {"train": "ff", "test": "cd"}}, "sha256.train"),
        ({"sha256": {"train": "ab", "test": "ff"}}, "sha256.test"),
        ({"learnt": 4}, "training rows"),
    ],
)
def test_a_difference_of_data_is_found(changes, field):
    own, theirs = digests(), digests(**changes)
    assert [name for name in own if own[name] != theirs[name]] == [field]
    assert all(0 <= number < 2**63 for number in theirs.values())


def test_the_code_s_digest_changes_with_any_file(monkeypatch, tmp_path):
    shutil.copytree(ROOT / "trainer", tmp_path / "trainer")
    monkeypatch.setattr(
        agreement, "__file__", str(tmp_path / "trainer/distributed/agreement.py")
    )
    before = agreement.code_sha256()
    (tmp_path / "trainer" / "models" / "new.py").touch()
    assert agreement.code_sha256() != before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("second", "field"),
    [
        ("--learning_rate=0.2", "config.optim.learning_rate"),
        ("--seed=5", "config.seed"),
        ("--augment=none", "config.data.augment"),
        ("--precision=mixed_bfloat16", "config.precision"),
        ("--global_batch=64", "config.global_batch"),
        ("--model_kwargs=width=0.5", "config.model.kwargs.width"),
        ("--log_every_steps=2", "run.log_every_steps"),
        ("--dry_run", "run.dry_run"),
    ],
)
def test_one_flag_unlike_the_other_s(data_dir, tmp_path, second, field):
    run_dir = tmp_path / "run"
    done = finish(start_in(data_dir, [run_dir] * 2, *ALONE, second=[second]))
    for code, said in done:
        assert code == 2, said
        assert "worker 1 was started unlike worker 0" in said
        assert field in said
        assert "Traceback" not in said
    assert not run_dir.exists()


@pytest.mark.slow
def test_a_variable_that_decides_bits(data_dir, tmp_path):
    variables = {"TF_ENABLE_ONEDNN_OPTS": "0"}
    done = finish(start_in(data_dir, [tmp_path / "run"] * 2, *ALONE, **variables))
    assert [code for code, _ in done] == [2, 2], done
    assert all("TF_ENABLE_ONEDNN_OPTS" in said for _, said in done)


@pytest.mark.slow
def test_other_data_of_the_same_name(data_dir, tmp_path):
    """Its last training record is another's, so name and sizes are equal."""
    run_command(
        "trainer.prepare", "--dataset=digits", f"--data_dir={tmp_path}", check=True
    )
    _swap(tmp_path)
    words = [*ALONE, f"--data_dir={data_dir}"]
    second = [f"--data_dir={tmp_path}"]
    done = finish(start_in(data_dir, [tmp_path / "run"] * 2, *words, second=second))
    for code, said in done:
        assert code == 2, said
        assert re.search(r"worker 1 holds other data .*sha256.train of digits", said)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("replaced", [False, True])
def test_folders_of_image_files_are_compared_by_the_hashes_of_their_stores(
    tmp_path, replaced
):
    """Each worker has a folder and a store of its own, as on machines of their own."""
    for place in ("chief", "other"):
        write_classes(tmp_path / place / "photos", {"a": 40, "b": 40})
    if replaced:
        write_image(tmp_path / "other" / "photos" / "b" / "007.png", seed=1000)
    own, theirs = (
        [f"--image_dir={tmp_path / place / 'photos'}", f"--data_dir={tmp_path / place}"]
        for place in ("chief", "other")
    )
    run_dirs = [tmp_path / "run"] * 2
    words = [*ALONE, *own]
    done = finish(start_in(tmp_path / "chief", run_dirs, *words, second=theirs))
    if not replaced:
        assert [code for code, _ in done] == [0, 0], done
        return
    for code, said in done:
        assert code == 2, said
        *_, first, last = said.strip().splitlines()
        assert re.search(r"worker 1 holds other data .*image_dir/photos differ", first)
        assert last.endswith("see --data_dir and --image_dir")
        assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def _swap(folder):
    """Puts the first training record into the place of the last."""
    import tensorflow as tf

    (path,) = folder.glob("digits/*/digits-train.tfrecord*")
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    records[-1] = records[0]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
