"""A signature holds for the bytes that were signed, and for no others."""

import importlib.util
import json
import pathlib
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from eval.formats import model_signature
from tests.support.signed_exports import write_keys
from trainer.errors import InvalidInput


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("keys")
    write_keys(folder, "owner")
    write_keys(folder, "stranger")
    write_keys(folder, "rsa", rsa.generate_private_key(65537, 2048))
    write_keys(folder, "koblitz", ec.generate_private_key(ec.SECP256K1()))
    write_keys(folder, "locked", password=b"secret")
    (folder / "text.pem").write_text("no key")
    (folder / "begun.pem").write_text("-----BEGIN EC PRIVATE KEY-----\n")
    return folder


@pytest.fixture
def model(tmp_path) -> pathlib.Path:
    """An exported file with its manifest and programs, beside another one."""
    for name in ("model_int8", "model_float32"):
        (tmp_path / f"{name}.tflite").write_bytes(name.encode() * 100)
        (tmp_path / f"{name}.tflite.json").write_text(json.dumps({"name": name}))
        (tmp_path / f"{name}.examples").mkdir()
        (tmp_path / f"{name}.examples" / "classify.py").write_text("print()")
    return tmp_path / "model_int8.tflite"


def refused(path, key) -> str:
    with pytest.raises(InvalidInput) as told:
        model_signature.verify(path, key)
    assert str(told.value).count("\n") <= 1
    return str(told.value)


def test_what_was_signed_is_verified(model, keys):
    assert model_signature.describe(model, None) == "none"
    assert "is not signed: there is no model_int8.tflite.sig" in refused(
        model, keys / "owner.pub"
    )
    made = model_signature.sign(model, keys / "owner.pem")
    assert made == model.with_name("model_int8.tflite.sig")
    assert model_signature.describe(model, None) == "not verified"
    assert model_signature.describe(model, keys / "owner.pub") == "verified"
    assert "another key signed it" in refused(model, keys / "stranger.pub")


def test_a_relative_path_is_verified_as_well(model, keys, monkeypatch):
    model_signature.sign(model, keys / "owner.pem")
    monkeypatch.chdir(model.parent)
    model_signature.verify(pathlib.Path(model.name), keys / "owner.pub")
    model_signature.sign(pathlib.Path(model.name), keys / "owner.pem")
    model_signature.verify(model, keys / "owner.pub")


@pytest.mark.parametrize(
    "name",
    ["model_int8.tflite", "model_int8.tflite.json", "model_int8.examples/classify.py"],
)
@pytest.mark.parametrize("place", [0, -1])
def test_one_bit_of_any_file_is_noticed(model, keys, name, place):
    model_signature.sign(model, keys / "owner.pem")
    file = model.parent / name
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    assert refused(model, keys / "owner.pub").endswith(f"signed it: changed: {name}")


def test_a_file_that_is_missing_or_new_is_noticed(model, keys):
    model_signature.sign(model, keys / "owner.pem")
    new = model.parent / "model_int8.examples" / "classify.cc"
    new.write_text("int main() {}")
    told = refused(model, keys / "owner.pub")
    assert told.endswith("signed it: added: model_int8.examples/classify.cc")
    new.unlink()
    model.with_name("model_int8.tflite.json").unlink()
    told = refused(model, keys / "owner.pub")
    assert told.endswith("signed it: missing: model_int8.tflite.json")


def test_the_signature_of_another_file_does_not_hold(model, keys):
    model_signature.sign(model, keys / "owner.pem")
    other = model.with_name("model_float32.tflite")
    model_signature.signature_path(model).rename(model_signature.signature_path(other))
    told = refused(other, keys / "owner.pub")
    assert "added: model_float32" in told and "missing: model_int8" in told


def test_a_folder_is_signed_with_all_that_is_in_it(model, keys):
    folder = model.with_suffix(".examples")
    (folder / ".hidden").write_text("a file")
    (folder / ".gitignore").write_text("another")
    assert model_signature.sign(folder, keys / "owner.pem").parent == folder.parent
    model_signature.verify(folder, keys / "owner.pub")
    for name in (".hidden", ".gitignore"):
        (folder / name).write_text("other")
        assert f"{folder.name}/{name}" in refused(folder, keys / "owner.pub")


def damage(content: bytes) -> dict[str, bytes]:
    bundle = json.loads(content)
    envelope = bundle["dsseEnvelope"]
    (signature,) = envelope["signatures"]
    other = "AAAA" + signature["sig"][4:]
    swapped = envelope | {"signatures": [signature | {"sig": other}]}
    return {
        "empty": b"",
        "cut": content[:200],
        "text": b"signed!",
        "bytes": b"\xff\xfe\0",
        "no fields": b"{}",
        "a list": b"[]",
        "no signature": json.dumps(
            bundle | {"dsseEnvelope": envelope | {"signatures": []}}
        ).encode(),
        "another signature": json.dumps(bundle | {"dsseEnvelope": swapped}).encode(),
        "another payload": json.dumps(
            bundle | {"dsseEnvelope": envelope | {"payload": "e30="}}
        ).encode(),
    }


def test_a_damaged_signature_is_refused(model, keys):
    path = model_signature.sign(model, keys / "owner.pem")
    content = path.read_bytes()
    for name, damaged in damage(content).items():
        path.write_bytes(damaged)
        told = refused(model, keys / "owner.pub")
        assert "the signature" in told, (name, told)
    path.unlink()
    path.mkdir()
    assert "Is a directory" in refused(model, keys / "owner.pub")


def test_links_are_not_signed(model, keys):
    (model.with_suffix(".examples") / "link").symlink_to("/etc/hostname")
    with pytest.raises(InvalidInput, match="cannot be signed: .*symlink"):
        model_signature.sign(model, keys / "owner.pem")
    assert model_signature.describe(model, None) == "none"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("none.pem", "cannot be read: No such file"),
        (".", "cannot be read: Is a directory"),
        ("text.pem", "is no key: a PEM file"),
        ("begun.pem", "is no private key of an elliptic curve"),
        ("owner.pub", "is no private key of an elliptic curve"),
        ("rsa.pem", "is no private key of an elliptic curve .* password$"),
        ("koblitz.pem", "is no private key of an elliptic curve"),
        ("locked.pem", "without a password: Password was not given"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused(model, keys, name, told):
    before = sorted(model.parent.rglob("*"))
    with pytest.raises(InvalidInput, match=told):
        model_signature.sign(model, keys / name)
    assert sorted(model.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["owner.pem", "rsa.pub", "koblitz.pub", "none", "."])
def test_a_public_key_that_cannot_be_used_is_refused(model, keys, name):
    model_signature.sign(model, keys / "owner.pem")
    assert refused(model, keys / name).startswith("require_signed=")


def test_the_missing_package_is_told_in_two_lines(model, keys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    told = refused(model, keys / "owner.pub")
    assert told.endswith("not installed;\npip install model-signing")
    assert model_signature.describe(model, None) == "none"


@pytest.mark.slow
def test_the_packages_own_command_verifies_it(model, keys):
    made = model_signature.sign(model, keys / "owner.pem")
    words = ["model_signing", "verify", "key", model.parent, "--signature", made]
    words += ["--public_key", keys / "owner.pub", "--ignore_unsigned_files"]
    program = pathlib.Path(importlib.util.find_spec("model_signing").origin)
    command = program.parents[4] / "bin" / "model_signing"
    if not command.exists():
        pytest.skip("the package's command is not installed")
    words[0] = command
    assert subprocess.run(words, capture_output=True).returncode == 0
    model.write_bytes(b"other")
    assert subprocess.run(words, capture_output=True).returncode != 0
