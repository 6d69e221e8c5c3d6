"""Prints the body of a Vertex AI CustomJob."""

import json
import sys
from collections.abc import Sequence

from absl import flags

from launch import command_line
from launch.platforms import platform_registry, vertex

USAGE = """launch.vertex: prints the body of a Vertex AI CustomJob.

    python -m launch.vertex --name=NAME --image=IMAGE --nfs=SERVER:/EXPORT:NAME \\
        --network=NETWORK [flags] -- TRAINER FLAGS > job.json

Post it to projects/PROJECT/locations/REGION/customJobs. The run is kept on the NFS
share: a bucket mounted as a directory cannot replace files at once, as checkpoints do.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the body."""
    return command_line.run(USAGE, vertex.define, _print_body, arguments)


def _print_body(values: flags.FlagValues, trainer_flags: list[str]) -> int:
    body = vertex.build_custom_job(values, trainer_flags)
    platform_registry.check_environment(values.env)
    print(json.dumps(body, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
