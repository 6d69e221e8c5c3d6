"""Run directories that hold a config alone, or what earlier releases recorded."""

import json

from trainer.config.schema import Config
from trainer.rundir import checkpoints
from trainer.rundir.layout import Run


def begin(path, config=None) -> Run:
    path.mkdir(parents=True)
    recorded = {"version": 1, "config": (config or Config()).to_json()}
    (path / "config.json").write_text(json.dumps(recorded))
    return Run(path)


LATER_DATA = ("pixels_sha256", "preprocessing")
LATER_OPTIONS = ("test_fraction", "resize", "channels", "mixup", "cutmix")


def make_older(run: Run) -> None:
    """Removes what runs did not record before there were image files."""
    recorded = run.recorded()
    _forget(recorded)
    (run.path / "config.json").write_text(json.dumps(recorded))
    for path in checkpoints.list_folders(run.checkpoints):
        found = checkpoints.load(path)
        facts = dict(found.facts)
        _forget(facts)
        del facts["files"], facts["manifest_sha256"]
        checkpoints.remove(path)
        checkpoints.save(path.parent, found.arrays, facts)


def _forget(fields: dict) -> None:
    for name in LATER_DATA:
        del fields["data"][name]
    for name in LATER_OPTIONS:
        del fields["config"]["data"][name]
