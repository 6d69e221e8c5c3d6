"""Artifacts appear whole, under their name, with a sound manifest, or not at all."""

import errno
import json
import os
import signal

import pytest

from eval.formats import manifest
from export.artifact import artifact
from trainer import files
from trainer.errors import Interrupted, InvalidInput, TrainingFailed


def publish(folder, content: bytes, **facts):
    with artifact.staging_folder(folder) as hidden:
        made = hidden / "model.tflite"
        made.write_bytes(content)
        return artifact.publish_file(made, folder / "model.tflite", facts)


@pytest.mark.parametrize("ending", ["", ".json", ".sig", ".cdx.json"])
def test_a_folder_with_the_name_of_a_file_is_refused(ending, tmp_path):
    final = tmp_path / "model.tflite"
    artifact.check_replaceable(final)
    named = final.with_name(final.name + ending)
    named.mkdir()
    with pytest.raises(InvalidInput, match=f"{named} is a folder; .*move it away"):
        artifact.check_replaceable(final)


def test_a_folder_that_is_no_export_is_not_replaced(tmp_path):
    final = tmp_path / "micro" / "tflm"
    artifact.check_replaceable_folder(final)
    final.parent.touch()
    with pytest.raises(InvalidInput, match="micro is no folder; .*move it away"):
        artifact.check_replaceable_folder(final)
    final.parent.unlink()
    final.mkdir(parents=True)
    artifact.check_replaceable_folder(final)
    (final / "notes.txt").touch()
    with pytest.raises(InvalidInput, match="it is not ours; .*move it away"):
        artifact.check_replaceable_folder(final)
    (final / "manifest.json").touch()
    artifact.check_replaceable_folder(final)
    final.rename(final.with_name("other"))
    final.touch()
    with pytest.raises(InvalidInput, match="tflm is no folder"):
        artifact.check_replaceable_folder(final)


@pytest.mark.parametrize("ending", [".sig", ".cdx.json"])
def test_a_folder_in_the_place_of_a_signature_is_refused(ending, tmp_path):
    final = tmp_path / "web"
    (tmp_path / f"web{ending}").mkdir()
    with pytest.raises(InvalidInput, match=f"web{ending} is a folder; .*move it away"):
        artifact.check_replaceable_folder(final)


def test_a_published_file_reads_back_as_its_manifest(tmp_path):
    made = publish(tmp_path / "export", b"model", scheme="int8")
    found = artifact.load_artifact(made.path)
    assert found.path.read_bytes() == b"model"
    assert found.manifest == made.manifest | {"scheme": "int8", "bytes": 5}
    assert sorted(p.name for p in (tmp_path / "export").iterdir()) == [
        "model.tflite",
        "model.tflite.json",
    ]


def test_a_second_export_replaces_the_first(tmp_path):
    publish(tmp_path, b"first", number=1)
    publish(tmp_path, b"second", number=2)
    assert artifact.load_artifact(tmp_path / "model.tflite").manifest["number"] == 2


@pytest.mark.parametrize("damage", ["model.tflite", "model.tflite.json"])
def test_an_altered_artifact_is_none(tmp_path, damage):
    publish(tmp_path, b"model")
    (tmp_path / damage).write_bytes(b"other")
    assert artifact.load_artifact(tmp_path / "model.tflite") is None
    (tmp_path / damage).unlink()
    assert artifact.load_artifact(tmp_path / "model.tflite") is None


def test_versions_count_up_and_prove_every_file(tmp_path):
    for number in (1, 2, 3):
        with artifact.staging_folder(tmp_path) as hidden:
            made = hidden / "made"
            (made / "variables").mkdir(parents=True)
            (made / "variables" / "data").write_bytes(b"weights")
            done = artifact.publish_version(made, tmp_path / "saved_model", {})
        assert done.path == tmp_path / "saved_model" / str(number)
    assert artifact.load_artifact(done.path).manifest == done.manifest
    (done.path / "variables" / "data").write_bytes(b"altered")
    assert artifact.load_artifact(done.path) is None


def test_a_full_disk_is_one_failure_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_json", full)
    with pytest.raises(
        Interrupted, match="nothing was kept in .*No space left"
    ) as stopped:
        publish(tmp_path / "export", b"model")
    assert stopped.value.code == 175
    assert list(tmp_path.iterdir()) == []


def test_a_failure_inside_leaves_what_was_there(tmp_path):
    publish(tmp_path, b"model", good=True)
    with (
        pytest.raises(TrainingFailed, match="gate"),
        artifact.staging_folder(tmp_path) as hidden,
    ):
        (hidden / "model.tflite").write_bytes(b"worse")
        raise TrainingFailed("gate")
    assert artifact.load_artifact(tmp_path / "model.tflite").manifest["good"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_leaves_nothing_and_is_told_by_the_exit_code(tmp_path, number, code):
    before = signal.getsignal(number)
    with (
        pytest.raises(Interrupted, match=f"{number.name}; nothing was kept") as stopped,
        artifact.staging_folder(tmp_path / "export") as hidden,
    ):
        (hidden / "model.tflite").write_bytes(b"half")
        os.kill(os.getpid(), number)
    assert stopped.value.code == code
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_names_change_waits_for_the_manifest(
    tmp_path, monkeypatch, number
):
    final, rename = tmp_path / "model.tflite", os.replace
    if number == signal.SIGINT:  # whatever ran in this process before
        signal.signal(number, signal.default_int_handler)

    def press(made, name):
        if name == final:
            signal.raise_signal(number)
        rename(made, name)

    publish(tmp_path, b"first")
    monkeypatch.setattr(os, "replace", press)
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        publish(tmp_path, b"second")
    assert artifact.load_artifact(final).path.read_bytes() == b"second"
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_killed_export_left_is_swept_and_what_another_writes_is_not(tmp_path):
    killed = tmp_path / f"{artifact.HIDDEN}killed"
    killed.mkdir()
    (killed / artifact.LOCK).touch()
    with (
        artifact.staging_folder(tmp_path) as first,
        artifact.staging_folder(tmp_path) as second,
    ):
        assert sorted(tmp_path.iterdir()) == sorted([first, second])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_wrong_usage(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(InvalidInput, match="cannot be written to"),
        artifact.staging_folder(tmp_path / "file" / "export"),
    ):
        pass


def test_manifests_are_plain_json(tmp_path):
    made = publish(tmp_path, b"model")
    beside = manifest.manifest_path(made.path)
    assert beside.name == "model.tflite.json"
    assert json.loads(beside.read_text())["version"] == artifact.VERSION
