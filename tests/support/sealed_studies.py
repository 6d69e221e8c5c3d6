"""Studies whose runs were trained without a test, and data whose test is closed."""

import json
import pathlib
import shutil


def close_test(data_dir: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    """A copy of the digits with a test split that cannot be opened."""
    shutil.copytree(data_dir, path, dirs_exist_ok=True)
    (record,) = path.glob("digits/*/*-test.*")
    record.unlink()
    record.symlink_to("nowhere")
    return path


def begin(path: pathlib.Path) -> pathlib.Path:
    """A folder that is a study."""
    path.mkdir()
    (path / "study.json").write_text(json.dumps({"version": 1, "space": {}}))
    return path


def seal(run_dir: pathlib.Path, data_dir: pathlib.Path | None = None) -> pathlib.Path:
    """Makes a finished run look as if it was trained without a test."""
    result = json.loads((run_dir / "result.json").read_text())
    kept = {k: v for k, v in result.items() if not k.startswith("test_")}
    kept |= {"tested": False, "data_sha256": {"train": result["data_sha256"]["train"]}}
    (run_dir / "result.json").write_text(json.dumps(kept))
    recorded = json.loads((run_dir / "config.json").read_text())
    recorded["run"]["test"] = False
    recorded["data"]["sha256"].pop("test")
    if data_dir is not None:
        recorded["run"]["data_dir"] = str(data_dir)
    (run_dir / "config.json").write_text(json.dumps(recorded))
    return run_dir
