"""What is known of a TFDS data set before TensorFlow and TFDS are imported.

Its name, from the source files of TFDS, and its sizes, from the description that TFDS
writes beside a prepared data set.
"""

import contextlib
import difflib
import functools
import importlib.util
import os
import pathlib
import re
import sys

from trainer import files
from trainer.config import parsing
from trainer.data.split import ARRAYS
from trainer.errors import DataUnavailable, InvalidInput

OWN = ("digits",)  # data sets of this toolkit
_DESCRIPTION = "dataset_info.json"
_CLASS = re.compile(r"^class (\w+)\(", re.MULTILINE)


def check_name(name: str, data_dir: str | None) -> None:
    """Checks that TFDS may know the data set `name`, without importing TFDS.

    Names of other namespaces, addresses of buckets, and anything once TFDS is imported,
    as a program may have registered builders, are left to TFDS.

    Raises:
        InvalidInput: it is neither prepared in `data_dir` nor part of TFDS or of this
            toolkit.
    """
    wanted = name.partition("/")[0].partition(":")[0]
    remote = "://" in (data_dir or "") or "://" in name or _has_namespace(name)
    if remote or "tensorflow_datasets" in sys.modules or wanted in (*OWN, ARRAYS):
        return
    root = folder(data_dir)
    if not wanted or (root / wanted).is_dir():
        return
    known = _find_names()
    if not known or _plain(wanted) in {_plain(one) for one in known}:
        return
    near = difflib.get_close_matches(wanted.lower(), known, n=1)
    raise InvalidInput(
        f"dataset={name} is neither known to TFDS nor prepared in {root}"
        + (f"; did you mean dataset={near[0]}?\n" if near else ";\n")
        + "see the TFDS catalogue for names, use dataset=digits, which needs no "
        "download, or name your own files with `image_dir`"
    )


def folder(data_dir: str | None) -> pathlib.Path:
    """The folder of TFDS data sets: `data_dir`, $TFDS_DATA_DIR, or TFDS's own.

    Raises:
        InvalidConfig: it would be in the home directory, and there is none.
    """
    if data_dir is not None:
        return parsing.parse_path("data_dir", data_dir)
    if given := os.environ.get("TFDS_DATA_DIR"):
        return pathlib.Path(given)
    remedy = "name a folder with `data_dir` or the variable TFDS_DATA_DIR"
    return parsing.home_folder("~/tensorflow_datasets", remedy)


def count_examples(name: str, data_dir: str | None) -> dict[str, int] | None:
    """Counts the examples of each split of a prepared data set; None: not known.

    The version that is used is not known: there must be one only.
    """
    if ":" in name or "://" in (data_dir or ""):
        return None
    found = list((folder(data_dir) / name).glob(f"*/{_DESCRIPTION}"))
    if len(found) != 1:
        return None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return {
            split["name"]: sum(map(int, split["shardLengths"]))
            for split in files.read_json(found[0])["splits"]
        }
    return None


def is_prepared(name: str, data_dir: str | None) -> bool:
    """Whether some version of the data set `name` may be prepared in `data_dir`."""
    wanted = name.partition(":")[0]
    return "://" in (data_dir or "") or (folder(data_dir) / wanted).is_dir()


def unprepared(name: str, place: object, root: object) -> DataUnavailable:
    """Creates the error of a dry run whose data set `name` is not in `place`.

    `root` is the folder of data sets to prepare it in.
    """
    return DataUnavailable(
        f"dataset={name} is not prepared in {place} and `dry_run` writes nothing; "
        f"prepare it first: python -m trainer.prepare dataset={name} data_dir={root}"
    )


def find_url(name: str) -> str | None:
    """The address of one of the files of the data set `name`; None: not known."""
    found = _find_tfds()
    wanted = name.partition("/")[0].partition(":")[0]
    if found is None or not wanted.isidentifier():
        return None
    listed = f"url_checksums/{wanted}.txt", f"datasets/{wanted}/checksums.tsv"
    for path in (found / each for each in listed):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            url = path.read_text().partition("\t")[0].strip()
            return url if url.startswith("http") else None
    return None


def _find_tfds() -> pathlib.Path | None:
    """The folder of the package; None if it is not installed."""
    spec = importlib.util.find_spec("tensorflow_datasets")
    if spec is None or not spec.submodule_search_locations:
        return None
    return pathlib.Path(next(iter(spec.submodule_search_locations)))


def _has_namespace(name: str) -> bool:
    """Whether `name` is that of a community, as huggingface:mnist; not mnist:3.0.1."""
    _, colon, rest = name.partition(":")
    return bool(colon) and not re.match(r"[0-9*]", rest)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


@functools.cache
def _find_names() -> set[str]:
    """Names in the source files of TFDS, and some that are not of data sets."""
    if (root := _find_tfds()) is None:
        return set()
    found = {path.name for path in (root / "datasets").glob("[a-z]*")}
    for path in root.glob("[a-z]*/**/*.py"):
        part = path.relative_to(root).parts[0]
        if part not in ("core", "testing", "scripts", "datasets"):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                names = _CLASS.findall(path.read_text())
                found |= {_to_snake_case(one) for one in names}
    return found


def _to_snake_case(name: str) -> str:
    """Converts the name of a class to that of its data set, as TFDS does.

    >>> [_to_snake_case(name) for name in ("Cifar10", "KMNIST", "TfFlowers")]
    ['cifar10', 'kmnist', 'tf_flowers']
    """
    split = re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub("([a-z0-9])([A-Z])", r"\1_\2", split).lower()
