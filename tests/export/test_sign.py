"""export.sign and export.verify: all of a run's exports or none; what is refused."""

import errno
import json

import pytest

from eval import model_source
from eval.formats import model_signature
from eval.predictors.file_options import FileOptions
from export import sign, verify
from export.artifact import artifact
from tests.support import operator_cases
from tests.support.export_runs import parsed
from tests.support.signed_exports import MANIFEST, write_keys
from trainer.errors import InvalidInput, TrainingFailed


def publish(folder, name: str, content: bytes) -> artifact.Artifact:
    facts = {
        k: v for k, v in MANIFEST.items() if k not in ("file", "sha256", "created")
    }
    with artifact.staging_folder(folder) as hidden:
        made = hidden / name
        made.write_bytes(content)
        return artifact.publish_file(made, folder / name, facts)


@pytest.fixture
def exports(tmp_path):
    """A folder with two exported files and the owner's keys."""
    write_keys(tmp_path, "owner")
    for name in ("model_int8.tflite", "model_float32.tflite"):
        publish(tmp_path, name, operator_cases.padded())
    return tmp_path


def run_sign(folder, *paths) -> None:
    key = f"--private_key={folder / 'owner.pem'}"
    sign.main(parsed(sign.define, key), [str(path) for path in paths])


def run_verify(folder, *paths) -> None:
    key = f"--public_key={folder / 'owner.pub'}"
    verify.main(parsed(verify.define, key), [str(path) for path in paths])


def test_signed_files_and_their_materials_are_verified(exports, capsys):
    paths = sorted(exports.glob("*.tflite"))
    run_sign(exports, *paths)
    assert capsys.readouterr().out.split() == [f"{path}.sig" for path in paths]
    run_verify(exports, *paths)
    assert capsys.readouterr().out.count("as the owner of") == 2
    materials = model_signature.materials_path(paths[0])
    found = json.loads(materials.read_text())
    assert found["metadata"]["component"]["name"] == paths[0].name
    materials.write_text(materials.read_text() + " ")
    with pytest.raises(InvalidInput, match="changed: model_float32.tflite.cdx.json"):
        run_verify(exports, paths[0])


def test_nothing_is_signed_if_one_file_is_not_as_it_was_exported(exports):
    good, bad = sorted(exports.glob("*.tflite"))
    bad.write_bytes(b"other")
    with pytest.raises(InvalidInput, match="is not as it was exported"):
        run_sign(exports, good, bad)
    bad.with_name(f"{bad.name}.json").unlink()
    with pytest.raises(InvalidInput, match="is missing or of other files"):
        run_sign(exports, good, bad)
    with pytest.raises(InvalidInput, match="does not exist"):
        run_sign(exports, good, exports / "none.tflite")
    with pytest.raises(InvalidInput, match="is no exported folder.*\n.*`run_dir`"):
        run_sign(exports, good, exports)
    assert not list(exports.glob("*.sig")) and not list(exports.glob("*.cdx.json"))


def lacks_a_field(path) -> str:
    beside = path.with_name(f"{path.name}.json")
    beside.write_text(json.dumps(json.loads(beside.read_text()) | {"io": "none"}))
    return "lacks what this release writes; export it again"


def has_a_link(path) -> str:
    path.with_suffix(".examples").mkdir()
    (path.with_suffix(".examples") / "a.py").symlink_to(path)
    return "a.py is a link; put the file itself there"


def has_a_folder(path) -> str:
    model_signature.signature_path(path).mkdir()
    return "sig is a folder; a signature is written there: move it away"


@pytest.mark.parametrize("harm", [lacks_a_field, has_a_link, has_a_folder])
def test_what_cannot_be_signed_is_refused_before_anything_is_written(harm, exports):
    told = harm(max(exports.glob("*.tflite")))
    before = sorted(exports.rglob("*"))
    with pytest.raises(InvalidInput, match=told):
        run_sign(exports, *sorted(exports.glob("*.tflite")))
    assert sorted(exports.rglob("*")) == before


def test_a_list_of_materials_does_not_stay_without_a_signature(exports, monkeypatch):
    def fail(*_) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(model_signature, "sign", fail)
    with pytest.raises(TrainingFailed, match="cannot be signed: Read-only"):
        run_sign(exports, exports / "model_int8.tflite")
    assert not list(exports.glob("*.cdx.json"))


def test_a_signature_that_is_a_folder_is_told_in_words(exports):
    path = exports / "model_int8.tflite"
    model_signature.signature_path(path).mkdir()
    with pytest.raises(InvalidInput, match="signed it: a file cannot be read: Is a"):
        run_verify(exports, path)
    with pytest.raises(InvalidInput, match="is no exported folder"):
        run_verify(exports, exports)


def test_a_new_export_removes_the_signature(exports):
    path = exports / "model_int8.tflite"
    run_sign(exports, path)
    publish(exports, path.name, b"a new model")
    assert model_signature.describe(path, None) == "none"
    assert not model_signature.materials_path(path).exists()


def test_eval_says_whether_a_file_is_signed_and_refuses_a_changed_byte(exports):
    path, key = exports / "model_int8.tflite", exports / "owner.pub"
    required = FileOptions(require_signed=key)
    with pytest.raises(InvalidInput, match="is not signed"):
        model_source.from_file(path, required)
    assert model_source.from_file(path).facts["signature"] == "none"
    run_sign(exports, path)
    assert model_source.from_file(path).facts["signature"] == "not verified"
    source = model_source.from_file(path, required)
    assert source.facts["signature"] == "verified"
    told = f"{path.name}: as the owner of {key} signed it"
    assert told in source.open((0, 0, 0), 0).notes
    manifest = path.with_name(f"{path.name}.json")
    manifest.write_text(manifest.read_text().replace("0.95", "0.99"))
    with pytest.raises(InvalidInput, match="changed: model_int8.tflite.json"):
        model_source.from_file(path, required)


def test_a_run_is_not_signed(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidInput, match="whose checkpoints are not signed"):
        model_source.from_path(str(tmp_path), FileOptions(require_signed=tmp_path))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "name the key with private_key=FILE"),
        (["--private_key="], "private_key"),
        (["--private_key=key.pem", "--run_dir=nowhere"], "nowhere"),
    ],
)
def test_wrong_usage_is_refused(words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=told):
        sign.main(parsed(sign.define, *words), [])
    with pytest.raises(InvalidInput, match="name two things"):
        sign.main(parsed(sign.define, "--private_key=a", "--run_dir=b"), ["c"])
