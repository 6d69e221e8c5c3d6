"""LiteRT.js: the packages of npm that run a `.tflite` in a browser.

npm fetches them once into a cache folder of the user. Their hashes are pinned: other
content is refused, wherever it comes from.
"""

import base64
import contextlib
import dataclasses
import hashlib
import io
import pathlib
import shutil
import subprocess
import tarfile
import tempfile

from trainer import files
from trainer.data.store import folders
from trainer.errors import InvalidInput, TrainingFailed
from trainer.monitoring.progress import CONSOLE

VERSION = "2.5.3"
LICENSE = "Apache-2.0"
FOLDER = "litert"  # in the page's folder
# Of the four builds this one runs in every browser with WebAssembly's SIMD. Those with
# relaxed SIMD save an eighth of the time, and their results depend on the processor.
LOADER = "litert_wasm_compat_internal.js"
_BINARY = LOADER.removesuffix(".js") + ".wasm"
_MAX_BYTES = 64 << 20  # of an archive; the larger has 12 MB
_FETCH_SECS = 300


@dataclasses.dataclass(frozen=True)
class NpmPackage:
    """A package of npm in the version that this toolkit was tested with.

    Attributes:
        name: with its scope.
        sha512: of its archive, in base64 as npm shows it.
        files: members of the archive that the page needs, each with its name in FOLDER.
    """

    name: str
    sha512: str
    files: tuple[tuple[str, str], ...]

    @property
    def archive(self) -> str:
        """The name that npm gives the archive."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{VERSION}.tgz"


PACKAGES = (
    NpmPackage(
        "@litertjs/core",
        "PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kC"
        "nN4nzWoyJQ==",
        (
            ("dist/index.js", "core.js"),
            ("package.json", "core.package.json"),
            (f"wasm/{LOADER}", LOADER),
            (f"wasm/{_BINARY}", _BINARY),
        ),
    ),
    NpmPackage(
        "@litertjs/wasm-utils",
        "4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFa"
        "wteZ/sI1kQ==",
        (
            ("dist/index.js", "wasm-utils.js"),
            ("package.json", "wasm-utils.package.json"),
        ),
    ),
)
_NOTICE = f"""LiteRT.js {VERSION}, Copyright 2025 Google LLC, licensed under the
Apache License, Version 2.0; see LICENSE-2.0.txt.

These files are from the npm packages @litertjs/core and @litertjs/wasm-utils. One line
was changed: core.js imports ./wasm-utils.js instead of @litertjs/wasm-utils, because a
browser does not look up the names of packages.
"""


def cache_folder() -> pathlib.Path:
    """The folder in which archives of npm are kept.

    Raises:
        InvalidInput: this user has no home, as in a container that sets a number alone.
    """
    remedy = "name a folder for LiteRT.js with the variable XDG_CACHE_HOME"
    return folders.cache_folder(remedy) / "npm"


def load_runtime() -> dict[str, bytes]:
    """Loads the files of LiteRT.js that a page needs, by their names in FOLDER.

    Raises:
        InvalidInput: they are not cached, and npm is not installed.
        TrainingFailed: npm cannot fetch them, or gives other content.
    """
    archives = {package: _load_cached(package) for package in PACKAGES}
    if missing := [package for package, found in archives.items() if found is None]:
        archives |= _fetch(missing)
    found = {"NOTICE.txt": _NOTICE.encode()}
    for package, archive in archives.items():
        with tarfile.open(fileobj=io.BytesIO(archive)) as members:
            for name, final in package.files:
                found[final] = members.extractfile(f"package/{name}").read()
    bare, ours = b'from "@litertjs/wasm-utils"', b'from "./wasm-utils.js"'
    found["core.js"] = found["core.js"].replace(bare, ours)
    return found


def describe_runtime() -> dict[str, str]:
    """The field of a manifest that says what runs the network in the browser."""
    core = PACKAGES[0]
    return {
        "package": core.name,
        "version": VERSION,
        "integrity": f"sha512-{core.sha512}",
        "license": LICENSE,
        "loader": LOADER,
    }


def _load_cached(package: NpmPackage) -> bytes | None:
    """Loads an archive from the cache folder; None if it is missing or another."""
    try:
        content = files.read_bytes(cache_folder() / package.archive, _MAX_BYTES)
    except OSError:
        return None
    return content if _is_pinned(package, content) else None


def _is_pinned(package: NpmPackage, content: bytes) -> bool:
    digest = hashlib.sha512(content).digest()
    return base64.b64encode(digest).decode() == package.sha512


def _fetch(packages: list[NpmPackage]) -> dict[NpmPackage, bytes]:
    """Fetches archives with npm and keeps them in the cache folder if it can."""
    npm = shutil.which("npm")
    if npm is None:
        names = " and ".join(package.archive for package in packages)
        raise InvalidInput(
            "the page runs on LiteRT.js, which npm fetches once, and npm is not"
            f" installed;\ninstall npm (Debian: apt-get install npm), or put {names}"
            f" into {cache_folder()}"
        )
    with tempfile.TemporaryDirectory(prefix="npm-") as folder:
        with CONSOLE.phase("npm is fetching LiteRT.js"):
            _pack(npm, [f"{package.name}@{VERSION}" for package in packages], folder)
        fetched = {
            package: _read_fetched(package, pathlib.Path(folder) / package.archive)
            for package in packages
        }
    with contextlib.suppress(OSError):  # without a cache it is fetched again
        cache_folder().mkdir(parents=True, exist_ok=True)
        for package, content in fetched.items():
            files.write_bytes(cache_folder() / package.archive, content)
    return fetched


def _pack(npm: str, names: list[str], folder: str) -> None:
    words = [npm, "pack", "--silent", "--pack-destination", folder, *names]
    try:
        done = subprocess.run(
            words,
            cwd=folder,  # not where a package.json may be
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_FETCH_SECS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error) if isinstance(error, OSError) else "it took too long"
        raise TrainingFailed(f"npm cannot fetch {' '.join(names)}: {reason}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = lines[0][:200] if lines else f"exit code {done.returncode}"
        raise TrainingFailed(
            f"npm cannot fetch {' '.join(names)}: {said};\nrun `npm pack {names[0]}` "
            "to see why"
        )


def _read_fetched(package: NpmPackage, path: pathlib.Path) -> bytes:
    try:
        content = files.read_bytes(path, _MAX_BYTES)
    except OSError as error:
        raise TrainingFailed(f"npm did not write {package.archive}") from error
    if not _is_pinned(package, content):
        raise TrainingFailed(
            f"{package.name} {VERSION} from npm is not the package that this toolkit "
            "was tested with: its SHA-512 differs;\nnothing was kept of it"
        )
    return content
