"""Run metadata: the content of config.json and environment.json."""

import dataclasses
from typing import Any

from trainer import files
from trainer.config.run_config import RunConfig
from trainer.config.schema import VERSION, Config
from trainer.config.serialization import differences, to_plain
from trainer.rundir.layout import ARCHITECTURE, SOURCE, Run

# Of the description of data: what earlier releases did not record, and what "sha256",
# which covers ids, shape, pixels and labels, decides anyway.
_LATER = ("pixels_sha256", "preprocessing")


def data_differences(recorded: dict[str, Any], data: dict[str, Any]) -> list[str]:
    """Lists the differences of two descriptions of data, as 'a.b: 1 != 2'.

    `recorded` may be of an earlier release, which recorded less.
    """
    left_out = {name for name in _LATER if name not in recorded}
    known = {name: value for name, value in data.items() if name not in left_out}
    return differences(*comparable(recorded, known))


def comparable(
    one: dict[str, Any], other: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both descriptions of data, without the test split that one run did not read."""
    if _reads_test(one) == _reads_test(other):
        return one, other
    return _without_test(one), _without_test(other)


def _reads_test(data: dict[str, Any]) -> bool:
    hashes = data.get("sha256")
    return isinstance(hashes, dict) and "test" in hashes


def _without_test(data: dict[str, Any]) -> dict[str, Any]:
    """Leaves out the skipped files, too, which may be of any split."""
    rest = {name: value for name, value in data.items() if name != "skipped"}
    for name in ("sha256", "pixels_sha256"):
        if isinstance(hashes := rest.get(name), dict):
            rest[name] = {k: v for k, v in hashes.items() if k != "test"}
    return rest


@dataclasses.dataclass(frozen=True)
class RunMetadata:
    """Everything that is known about a training before its first step.

    Attributes:
        config: the options that decide the numbers.
        run_config: the options that say where and how the training runs.
        data: the description of the data, see `Dataset.recorded`.
        environment: what the bits also depend on, see `distributed.environment`.
        reproducibility_key: replicas and the part of the environment that checkpoints
            keep.
        source: name and content of the file of a user's network, which is copied.
        pretrained: the weights that it started from, see `pretrained.matching`.
    """

    config: Config
    run_config: RunConfig
    data: dict[str, Any]
    environment: dict[str, Any]
    reproducibility_key: dict[str, Any]
    source: tuple[str, bytes] | None = None
    pretrained: dict[str, Any] | None = None

    def write(self, run: Run) -> None:
        """Writes environment.json, then config.json, which marks it as a run."""
        if (text := self.config.model.architecture) is not None:
            files.write_bytes(run.path / ARCHITECTURE, text.encode())
        if self.source is not None:
            name, content = self.source
            (run.path / SOURCE).mkdir(exist_ok=True)
            files.write_bytes(run.path / SOURCE / name, content)
        run.write("environment.json", self.environment)
        recorded = {
            "version": VERSION,
            "config": self.config.to_json(),
            "run": to_plain(dataclasses.asdict(self.run_config)),
            "data": self.data,
        }
        if self.pretrained is not None:
            recorded["pretrained"] = self.pretrained
        run.write("config.json", recorded)

    def expected(self) -> dict[str, Any]:
        """Collects the fields that every checkpoint of the run must have."""
        return {"config": self.config.to_json(), "data": self.data}

    def checkpoint_fields(self) -> dict[str, Any]:
        """Collects the fields about the training in the manifest of a checkpoint."""
        return {
            **self.expected(),
            "packages": self.environment["packages"],
            "place": self.reproducibility_key,
        }
