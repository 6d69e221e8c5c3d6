"""Loads the weights that a training starts from, which `source` has found."""

import hashlib

from trainer.config.run_config import RunConfig
from trainer.config.schema import Config
from trainer.errors import InvalidInput
from trainer.pretrained import source, weight_files
from trainer.pretrained.weight_files import StoredWeights
from trainer.rundir import finished
from trainer.rundir.layout import Run


def load(config: Config, run_config: RunConfig) -> StoredWeights:
    """Loads the weights with the hash `init_sha256` of `config`.

    Raises:
        InvalidInput: they are missing, damaged, or have another hash.
    """
    digest = config.model.init_sha256
    if run_config.init_from is None:
        raise InvalidInput("the path of this run's first weights is not recorded")
    path = source.locate(config, run_config)
    if path.is_dir():
        run = Run(path)
        weights = finished.load_weights(run, digest, source.OPTION)
        classes = run.recorded().get("data", {}).get("labels")
        return StoredWeights(by_path=weights, classes=classes)
    content = weight_files.read(path)
    if hashlib.sha256(content).hexdigest() != digest:
        raise InvalidInput(
            f"{source.OPTION}={path} is not the file that this run started from; "
            "restore it"
        )
    return weight_files.parse(path, content)
