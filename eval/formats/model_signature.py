"""Signatures of exported files: who made them, and that no byte was changed.

A signature is `<name>.sig` beside a file or folder: a Sigstore bundle with the SHA-256
of the file, its manifest and the programs beside it, signed by the owner of a key
(https://github.com/sigstore/model-transparency). The package `model-signing` is
optional and used here alone.
"""

import pathlib
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from eval.formats import manifest as manifests
from trainer import files
from trainer.errors import InvalidInput, first_line, require_package

PACKAGE = "model-signing"
MATERIALS = ".cdx.json"  # ending of the list of what a model was made with
_ENDING = ".sig"
_SHOWN = 3  # names of changed files in a message
_LARGEST = 2**24  # bytes of a signature, or a key, that is read


def signature_path(path: pathlib.Path) -> pathlib.Path:
    """Names the signature of the file or folder `path`."""
    return path.with_name(path.name + _ENDING)


def materials_path(path: pathlib.Path) -> pathlib.Path:
    """Names the list of what the model `path` was made with."""
    return path.with_name(path.name + MATERIALS)


def check_installed() -> None:
    """Checks that the package is installed.

    Raises:
        InvalidInput: it is not.
    """
    need = f"signatures need the package {PACKAGE}"
    require_package("model_signing", need, f"pip install {PACKAGE}")


def sign(path: pathlib.Path, private_key: pathlib.Path) -> pathlib.Path:
    """Signs the file or folder `path` and what belongs to it; returns the signature.

    Args:
        private_key: a PEM file of an elliptic curve (P-256, P-384, P-521), without a
            password.

    Raises:
        InvalidInput: the key cannot be used, or `path` has links inside.
        OSError: the signature cannot be written.
    """
    config = load_private_key(private_key)
    from model_signing import hashing

    config.set_hashing_config(_hash_listed(hashing, list_files(path)))
    made = files.temporary_path(signature_path(path))
    try:
        config.sign(path.parent, made)
        files.write_bytes(signature_path(path), made.read_bytes())
    except ValueError as error:
        raise InvalidInput(f"{path} cannot be signed: {first_line(error)}") from error
    finally:
        made.unlink(missing_ok=True)
    return signature_path(path)


def load_private_key(path: pathlib.Path) -> Any:
    """The package's `signing.Config` with the key at `path`.

    Raises:
        InvalidInput: the key cannot be used.
    """
    check_installed()
    from model_signing import signing

    check_key(path, "private_key")
    try:
        return signing.Config().use_elliptic_key_signer(private_key=path)
    except Exception as error:  # what is raised depends on what is wrong with the key
        raise _refuse_key(path, "private_key", error) from error


def verify(
    path: pathlib.Path, public_key: pathlib.Path, option: str = "require_signed"
) -> None:
    """Verifies that `path` and all that belongs to it is as the owner of a key left it.

    Args:
        option: what messages call the key.

    Raises:
        InvalidInput: it is not signed, by another key, or a byte was changed; or the
            key cannot be used.
    """
    check_installed()
    from model_signing import hashing, verifying

    check_key(public_key, option)
    signature = signature_path(path)
    if not signature.exists():
        raise InvalidInput(f"{path} is not signed: there is no {signature.name}")
    config = verifying.Config()
    try:
        config.use_elliptic_key_verifier(public_key=public_key)
    except Exception as error:  # what is raised depends on what is wrong with the key
        raise _refuse_key(public_key, option, error) from error
    config.set_hashing_config(_hash_listed(hashing, list_files(path)))
    try:
        files.read_bytes(signature, _LARGEST)
        config.verify(path.parent, signature)
    except Exception as error:  # a forged signature may raise anything
        raise InvalidInput(
            f"{path} is not as the owner of {public_key} signed it:"
            f" {_describe_mismatch(error)}"
        ) from error


def describe(path: pathlib.Path, public_key: pathlib.Path | None) -> str:
    """Says whether `path` is signed; verifies it if there is a key.

    Returns:
        "verified", "not verified" (no key was given) or "none".

    Raises:
        InvalidInput: see `verify`.
    """
    if public_key is not None:
        verify(path, public_key)
        return "verified"
    return "not verified" if signature_path(path).exists() else "none"


def list_files(path: pathlib.Path) -> list[pathlib.Path]:
    """The files that a signature of `path` covers: all that are there now.

    A folder's files; or a file, its manifest and the folder of programs; and the list
    of what the model was made with.
    """
    if path.is_dir():
        found = list(_walk(path))
    else:
        found = [path, manifests.manifest_path(path)]
        found += _walk(path.with_suffix(".examples"))
    return [each for each in [*found, materials_path(path)] if each.exists()]


def _walk(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    return (each for each in sorted(folder.rglob("*")) if not each.is_dir())


def _hash_listed(hashing: ModuleType, listed: list[pathlib.Path]) -> Any:
    """The package's way to hash, for the `listed` files of a folder alone."""

    class ListedFiles(hashing.Config):
        def hash(
            self, model_path: pathlib.Path, *, files_to_hash: object = None
        ) -> object:
            return super().hash(model_path, files_to_hash=listed)

    return ListedFiles().set_ignored_paths(paths=[], ignore_git_paths=False)


def check_key(path: pathlib.Path, option: str) -> None:
    """Checks that the file at `path`, which `option` names, may hold a key.

    Raises:
        InvalidInput: it cannot be read, or is no PEM file.
    """
    try:
        content = files.read_bytes(path, _LARGEST)
    except OSError as error:
        raise InvalidInput(
            f"{option}={path} cannot be read: {error.strerror}"
        ) from error
    if b"-----BEGIN" not in content:
        raise InvalidInput(
            f"{option}={path} is no key: a PEM file of an elliptic curve is needed,\n"
            "as openssl ecparam -name prime256v1 -genkey -noout -out key.pem makes it"
        )


def _refuse_key(path: pathlib.Path, option: str, error: Exception) -> InvalidInput:
    kind = "private" if option == "private_key" else "public"
    # What is no key of a curve lacks attributes; their names tell a user nothing.
    reason = "" if isinstance(error, AttributeError) else f": {first_line(error)}"
    return InvalidInput(
        f"{option}={path} is no {kind} key of an elliptic curve (P-256, P-384 or P-521)"
        f" without a password{reason}"
    )


def _describe_mismatch(error: Exception) -> str:
    """The reason in few words: a wrong key, or which files differ."""
    # A list as Python writes it, where quotes may have backslashes.
    if isinstance(error, OSError):
        return f"a file cannot be read: {error.strerror or error}"
    text = " ".join(str(error).split()).replace("\\'", "'")
    if type(error).__name__ == "InvalidSignature":
        return "the signature was changed"
    if text.startswith("Key mismatch"):
        return "another key signed it"
    if not text.startswith("Signature mismatch"):
        return text[:300] if "symlink" in text else "the signature is damaged"
    found = {
        "changed": re.findall(r"Hash mismatch for '(.*?)':", text),
        "added": _names_after("Extra files found", text),
        "missing": _names_after("Missing files", text),
    }
    told = [f"{what}: {_shorten(names)}" for what, names in found.items() if names]
    return "; ".join(told) or "its files differ"


def _shorten(names: list[str]) -> str:
    more = " and others" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def _names_after(title: str, text: str) -> list[str]:
    found = re.search(rf"{title} in model '.*?': (.*?)[\"']", text)
    return found[1].split(", ") if found else []
