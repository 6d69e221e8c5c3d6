"""Prepares data: python -m trainer.prepare --dataset=digits, or --image_dir=photos."""

import dataclasses
import pathlib
import sys
from typing import NoReturn

from absl import flags

from trainer.cli import command, early_checks, flag_schema
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config
from trainer.data.store import folders, store
from trainer.data.store.request import FilesRequest
from trainer.errors import InvalidInput, TrainingFailed
from trainer.monitoring import native_output

SUMMARY = "Prepares a TFDS data set, or a folder or table of image files."
FILES = {field.name for field in dataclasses.fields(FilesRequest)}
FILES -= {"data_dir", "test"}  # data_dir has another help; test images are prepared


def _define(values: flags.FlagValues) -> flags.FlagValues:
    where = {"flag_values": values, "module_name": "Data"}
    flags.DEFINE_string("dataset", "cifar10", "TFDS data set to prepare.", **where)
    flags.DEFINE_string(
        "data_dir",
        None,
        "Where it goes. Default: $TFDS_DATA_DIR or TFDS's own, for image files the "
        "user's cache.",
        **where,
    )
    flag_schema.define(values, RunConfig, Config, only=FILES)
    kept = {"flag_values": values, "module_name": "Stores of image files"}
    flags.DEFINE_bool("list", False, "Lists the stores.", **kept)
    flags.DEFINE_bool(
        "verify", False, "Reads every store, or the one that is prepared.", **kept
    )
    flags.DEFINE_string("remove", None, "Name of a store to remove.", **kept)
    flags.DEFINE_bool("debug", False, "Shows the traceback of an error.", **where)
    return values


def main(values: flags.FlagValues) -> None:
    """Prepares the data that the flags name, or lists, verifies or removes stores."""
    files = flag_schema.parse(values, FILES, RunConfig, Config)
    named = [name for name in ("image_dir", "image_list") if files[name] is not None]
    if len(named) == 2:
        raise InvalidInput(
            "`image_dir` and `image_list` both name the images; give one"
        )
    if values.remove is not None:
        print(f"removed {folders.remove(values.remove, values.data_dir)}")
    elif named:
        if values["dataset"].present:
            raise InvalidInput(f"`{named[0]}` takes the place of `dataset`; give one")
        _prepare_files(FilesRequest(data_dir=values.data_dir, **files), values.verify)
    elif values.list or values.verify:
        _list_stores(values.data_dir, verify=values.verify)
    else:
        _prepare_dataset(values)


def _prepare_dataset(values: flags.FlagValues) -> None:
    early_checks.check_dataset(values.dataset, values.data_dir, write=True)
    with native_output.loading_libraries():
        from trainer.data.sources import tfds_preparation
    builder = tfds_preparation.prepare(values.dataset, values.data_dir, say=_say)
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    print(f"{builder.info.full_name} is prepared in {builder.data_dir}: {counts}")


def _prepare_files(request: FilesRequest, verify: bool) -> None:
    found = store.open_store(request, say=_say)
    manifest = found.manifest
    counts = {which: manifest.images(which) for which in manifest.splits}
    shape = " x ".join(map(str, found.preprocessing.shape))
    print(
        f"{request.path} is prepared in {manifest.folder}: {counts} images of {shape}, "
        f"{len(manifest.fields['classes'])} classes"
    )
    if verify:
        _verify([manifest.folder])


def _list_stores(data_dir: str | None, *, verify: bool) -> None:
    stores = folders.all_stores(data_dir)
    for path in stores:
        print(f"{path.name}: {folders.size(path):,} bytes, {store.describe(path)}")
    if not stores:
        places = " or ".join(map(str, folders.search_folders(data_dir)))
        print(f"no stores in {places}")
    if verify:
        _verify([path for path in stores if not path.name.endswith(folders.PARTIAL)])


def _verify(stores: list[pathlib.Path]) -> None:
    """Reads stores to their end; fails if one is not what was written."""
    wrong = [line for path in stores for line in store.verify(path)]
    for line in wrong:
        print(line)
    if wrong:
        raise TrainingFailed(
            f"{len(wrong)} parts of stores are damaged; remove them with `remove`, and "
            "they are made again"
        )
    print(f"{len(stores)} stores hold what was written")


def _say(message: str) -> None:
    print(message, file=sys.stderr)


def run() -> NoReturn:
    """Runs the command with the arguments of this process."""
    values = _define(flags.FlagValues())
    command.run("trainer.prepare", SUMMARY, values, lambda: main(values))


if __name__ == "__main__":
    run()
