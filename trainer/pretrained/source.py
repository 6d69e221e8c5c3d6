"""Finds the weights that a training starts from; TensorFlow and h5py stay away.

The hash of the weights is in the Config, as it decides the numbers; their path, which
belongs to one machine, is in the RunConfig.
"""

import dataclasses
import hashlib
import os
import pathlib

from trainer.config.options import require
from trainer.config.parsing import IMAGENET
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config
from trainer.errors import InvalidInput
from trainer.pretrained import imagenet
from trainer.rundir import finished
from trainer.rundir.layout import resolve_links

OPTION = "init_from"  # names the weights in messages
_MAGIC = {".npz": b"PK", ".keras": b"PK", ".h5": b"\x89HDF"}


def add_sha256(config: Config, run_config: RunConfig) -> Config:
    """`config` with the hash of the weights that `init_from` names, if it is given.

    Raises:
        InvalidInput: there are no such weights, or an option is given that needs them.
    """
    model = config.model
    if run_config.init_from is None:
        require(
            not model.qat,
            "`qat` fine-tunes a finished run; name it with `init_from`",
        )
        require(
            model.freeze is None,
            f"freeze={model.freeze} needs `init_from`: frozen random weights learn "
            "nothing; name the weights, or leave `freeze` out",
        )
        require(
            model.init_sha256 is None,
            "the path of the weights with the hash `init_sha256` is not known; name "
            "them with `init_from`",
        )
        return config
    path = locate(config, run_config)
    digest = _sha256(path)
    require(
        model.init_sha256 in (None, digest),
        f"{OPTION}={path} has the hash {digest[:12]}, not the given "
        f"{str(model.init_sha256)[:12]}; name the weights of this config",
    )
    named = dataclasses.replace(model, init_sha256=digest)
    return dataclasses.replace(config, model=named)


def locate(config: Config, run_config: RunConfig) -> pathlib.Path:
    """Finds the folder of the run, or the file, that `init_from` names.

    Raises:
        InvalidInput: it is also `run_dir`, or Keras has no such weights.
    """
    given = run_config.init_from
    if given == IMAGENET:
        return imagenet.find_file(config)
    path = resolve_links(pathlib.Path(given))
    own = run_config.run_dir
    require(
        not own or str(path) != os.path.realpath(own),
        f"{OPTION}={given} is also `run_dir`; name another one",
    )
    return path


def _sha256(path: pathlib.Path) -> str:
    if path.is_dir():
        return finished.weights_sha256(str(path), OPTION)
    named = f"{OPTION}={path}"
    if not os.path.lexists(path):
        raise InvalidInput(
            f"{named} does not exist; name the directory of a finished run, or a file "
            "of weights"
        )
    if path.suffix not in _MAGIC:
        raise InvalidInput(
            f"{named} is not a file of weights that can be read; save them as "
            ".weights.h5, .keras or .npz"
        )
    try:
        if not path.is_file():
            raise OSError(None, "it is not a regular file")
        with open(path, "rb") as file:
            begin = file.read(4)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidInput(
            f"{named} cannot be read: {error.strerror or error}; name another file"
        ) from error
    if not begin.startswith(_MAGIC[path.suffix]):
        raise InvalidInput(
            f"{named} is not of the format that its name says; save it again"
        )
    return digest
