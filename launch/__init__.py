"""Starts training jobs: one on many processes or machines, or many trials of a study.

    python -m launch.local --workers=2 -- --dataset=digits --epochs=3
    python -m launch.worker -- --run_dir=/runs/a          (inside a container)
    python -m launch.slurm --name=a --workers=4 -- --epochs=30 > a.sh
    python -m launch.kubernetes --kind=jobset --name=a … -- --epochs=30 > a.yaml
    python -m launch.vertex --name=a … -- --epochs=30 > a.json
    python -m launch.sweep --trials=24 --try learning_rate=log:1e-4:1e-1 -- --epochs=3

What follows `--` goes to `trainer.main`; all but sweep add `--strategy=multi_worker`.
The package imports absl and PyYAML beside the standard library, and Optuna for a study
that runs: help and manifests are instant.
docs/launch.md says who restarts what, on which platform, after which exit code.
"""

import trainer.contract  # noqa: F401  handles Ctrl-C while a command is imported
