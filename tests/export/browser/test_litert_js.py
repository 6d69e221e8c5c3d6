"""LiteRT.js comes from npm once, with the pinned content or not at all."""

import base64
import hashlib
import io
import pathlib
import pwd
import sys
import tarfile

import pytest

from export.browser import litert_js
from export.browser.litert_js import NpmPackage
from tests.support import commands
from trainer.errors import InvalidInput, TrainingFailed

NPM = f"""#!{sys.executable}
import pathlib, shutil, sys
words = sys.argv[1:]
assert words[0] == "pack" and words[2] == "--pack-destination", words
for archive in pathlib.Path({{folder!r}}).glob("*.tgz"):
    shutil.copy(archive, words[3])
"""
CORE = b'import { createWasmLib } from "@litertjs/wasm-utils";\n'


def archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as made:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def pinned(package: NpmPackage, content: bytes) -> NpmPackage:
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    return NpmPackage(package.name, digest, package.files)


@pytest.fixture
def npm(tmp_path, monkeypatch) -> pathlib.Path:
    """A folder of archives that a program named npm gives; the cache is empty."""
    packages, folder = [], tmp_path / "registry"
    folder.mkdir()
    for package in litert_js.PACKAGES:
        content = archive({name: CORE for name, _ in package.files})
        (folder / package.archive).write_bytes(content)
        packages.append(pinned(package, content))
    monkeypatch.setattr(litert_js, "PACKAGES", tuple(packages))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(NPM.format(folder=str(folder)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return folder


def test_it_is_fetched_once_and_kept(npm, monkeypatch):
    found = litert_js.load_runtime()
    monkeypatch.setenv("PATH", "")
    assert litert_js.load_runtime() == found
    assert found[litert_js.LOADER] == CORE
    assert found["core.js"] == b'import { createWasmLib } from "./wasm-utils.js";\n'
    assert b"Apache License, Version 2.0" in found["NOTICE.txt"]


def test_other_content_is_refused_and_not_kept(npm):
    (npm / litert_js.PACKAGES[0].archive).write_bytes(archive({"dist/index.js": b"1"}))
    with pytest.raises(TrainingFailed, match="its SHA-512 differs"):
        litert_js.load_runtime()
    assert not litert_js.cache_folder().exists()


def test_a_damaged_cache_is_fetched_again(npm, monkeypatch):
    found = litert_js.load_runtime()
    for path in litert_js.cache_folder().iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with monkeypatch.context() as without, pytest.raises(InvalidInput):
        without.setenv("PATH", "")
        litert_js.load_runtime()
    assert litert_js.load_runtime() == found
    monkeypatch.setenv("PATH", "")
    assert litert_js.load_runtime() == found


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: {}["none"])
    with pytest.raises(InvalidInput, match="has none;\nname .* XDG_CACHE_HOME"):
        litert_js.load_runtime()


def test_a_cache_that_cannot_be_written_is_no_failure(npm, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert litert_js.load_runtime()["wasm-utils.js"]


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("#!/bin/sh\necho 'npm error network' >&2; exit 1\n", "npm error network"),
        ("#!/bin/sh\nexit 3\n", "exit code 3"),
        ("#!/bin/sh\nexit 0\n", "did not write"),
        ("no program\n", "Exec format error"),
    ],
)
def test_an_npm_that_fails_is_told(npm, tmp_path, program, said):
    (tmp_path / "bin" / "npm").write_text(program)
    with pytest.raises(TrainingFailed, match=said) as caught:
        litert_js.load_runtime()
    assert str(caught.value).count("\n") <= 1


def test_without_npm_it_says_what_to_do(npm, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        InvalidInput, match=r"install npm \(Debian: .*\), or put"
    ) as caught:
        litert_js.load_runtime()
    assert str(caught.value).count("\n") == 1
    assert litert_js.PACKAGES[1].archive in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scheme=int16x8"], "should be one of <float32|float16|dynamic|int8>"),
        (["--page_images=0"], "--page_images=0 must be at least 1"),
        (["--serve", "--port=65536"], "--port=65536 must be within 0 to 65535"),
        (["--run_dir=nowhere"], "nowhere"),
        (["--page_images=many"], "page_images"),
        (["--max_accuracy_drop=2"], "--max_accuracy_drop=2.0 must be within"),
    ],
)
def test_wrong_usage_is_2_in_two_lines(words, said):
    done = commands.run_command("export.web", *words)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2 and len(lines) <= 2, done.stderr
    assert lines[0].startswith("export.web: ") and said in done.stderr
