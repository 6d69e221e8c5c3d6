"""Lists the commands of this package: python -m launch."""

from launch import command_line

command_line.show_commands(
    {
        "local": "runs one job of several workers on this machine, supervised",
        "sweep": "trains with many settings and seeds; one table of all trials",
        "worker": "runs the trainer inside a scheduler's container or step",
        "slurm": "prints a batch script for SLURM",
        "kubernetes": "prints the manifests of a job for Kubernetes",
        "vertex": "prints the job for Vertex AI",
    }
)
