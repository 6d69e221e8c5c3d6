"""Run metadata: what a training is made of, as config.json and environment.json say."""

import dataclasses
from typing import Any

from trainer import files
from trainer.config.run_config import RunConfig
from trainer.config.schema import VERSION, Config
from trainer.config.serialization import to_plain
from trainer.rundir.layout import ARCHITECTURE, Run


@dataclasses.dataclass(frozen=True)
class RunMetadata:
    """Everything that is known of a training before its first step.

    Attributes:
        config: what decides the numbers.
        run_config: where and how it runs.
        data: what `Dataset.recorded` says of the data.
        environment: what the bits depend on besides, see `distributed.environment`.
        reproducibility_key: the part of it that a checkpoint keeps, with the replicas.
    """

    config: Config
    run_config: RunConfig
    data: dict[str, Any]
    environment: dict[str, Any]
    reproducibility_key: dict[str, Any]

    def write(self, run: Run) -> None:
        """Writes environment.json, then config.json, which makes it a run."""
        if (text := self.config.model.architecture) is not None:
            files.write_bytes(run.path / ARCHITECTURE, text.encode())
        run.write("environment.json", self.environment)
        recorded = {
            "version": VERSION,
            "config": self.config.to_json(),
            "run": to_plain(dataclasses.asdict(self.run_config)),
            "data": self.data,
        }
        run.write("config.json", recorded)

    def expected(self) -> dict[str, Any]:
        """What every checkpoint of the run says as well."""
        return {"config": self.config.to_json(), "data": self.data}

    def of_checkpoint(self) -> dict[str, Any]:
        """What a checkpoint's manifest says of the training it belongs to."""
        return {
            **self.expected(),
            "packages": self.environment["packages"],
            "place": self.reproducibility_key,
        }
