"""Run directories that hold a config alone."""

import json

from trainer.config.schema import Config
from trainer.rundir.layout import Run


def begin(path, config=None) -> Run:
    path.mkdir(parents=True)
    recorded = {"version": 1, "config": (config or Config()).to_json()}
    (path / "config.json").write_text(json.dumps(recorded))
    return Run(path)
