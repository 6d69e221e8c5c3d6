"""SLURM: batch scripts, and the tasks of an `srun` step.

>>> expand_hostlist("gpu[08-10,12]-ib,login")
['gpu08-ib', 'gpu09-ib', 'gpu10-ib', 'gpu12-ib', 'login']
"""

import itertools
import math
import pathlib
import re
import shlex
import string

from absl import flags

from launch.command_line import UsageError
from launch.platforms import job_spec, study_job
from launch.platforms.job_spec import TrainingJob
from launch.platforms.platform import (
    MAX_HOSTS,
    Environment,
    read_integer,
    read_text,
)
from launch.trainer_command import TrainerCommand, for_scheduler
from trainer.contract import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_PEER_LOST,
    EXIT_WRONG_USAGE,
    MAX_HOST_CHARS,
    STOPS,
    ClusterSpec,
)

FIRST_PORT = 16_384  # below Linux' ephemeral ports, which start at 32,768
PORTS_PER_JOB = 16
PORT_BLOCKS = 1_024
LEFT_BEHIND_SECS = 1_800  # the chief may still evaluate when the others are done
SAVE_MARGIN_SECS = 60  # in addition to the grace period, as SLURM checks at intervals
# The job ends with the first; it is queued again after the others.
FINAL_CODES = (0, EXIT_FAILED, EXIT_WRONG_USAGE, EXIT_INTERRUPTED)
REQUEUED_CODES = sorted(set(STOPS.values()) - {EXIT_INTERRUPTED})

_TEMPLATE = pathlib.Path(__file__).parent / "templates" / "slurm.sh"
# sbatch: minutes, h:m:s, days-h:m:s
_TIME = r"([0-9]+-)?[0-9]{1,2}(:[0-9]{2}){0,2}|[0-9]+"
_WORD = r"[A-Za-z0-9_.,-]+"
_HOST = re.compile(r"(?:[^,\[\]\s]|\[[^\[\]\s]*\])+")
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")


class Slurm:
    """One worker for each task of an `srun` step; https://slurm.schedmd.com/srun.html.

    The port depends on the id of the job, so that two jobs on one node use different
    ones.
    """

    name = "slurm"
    title = "SLURM"
    detection_variable = "SLURM_PROCID"
    own_variables = ("SLURM_*",)

    def read_cluster(self, environment: Environment) -> ClusterSpec:
        """Reads the nodes of the step and the number of tasks of each."""
        hosts = expand_hostlist(
            environment.get("SLURM_STEP_NODELIST")
            or read_text(environment, "SLURM_NODELIST")
        )
        _require_block_distribution(environment)
        tasks = _expand_task_counts(
            environment.get("SLURM_STEP_TASKS_PER_NODE")
            or environment.get("SLURM_TASKS_PER_NODE")
            or f"1(x{len(hosts)})"
        )
        if len(tasks) != len(hosts) or max(tasks) > PORTS_PER_JOB:
            raise ValueError(
                f"{len(hosts)} nodes with {len(tasks)} task counts up to {max(tasks)}: "
                f"one count a node, each at most {PORTS_PER_JOB}"
            )
        block = read_integer(environment, "SLURM_JOB_ID") % PORT_BLOCKS
        port = FIRST_PORT + block * PORTS_PER_JOB
        return ClusterSpec(
            workers=tuple(
                f"{host}:{port + local}"
                for host, count in zip(hosts, tasks, strict=True)
                for local in range(count)
            ),
            index=read_integer(environment, self.detection_variable),
        )


PLATFORM = Slurm()


def _require_block_distribution(environment: Environment) -> None:
    """Raises ValueError if tasks are not numbered node after node."""
    spread = environment.get("SLURM_DISTRIBUTION", "block").partition(":")[0]
    if spread.partition(",")[0] != "block":
        raise ValueError(
            f"SLURM_DISTRIBUTION={spread} numbers tasks across nodes; "
            "start srun with --distribution=block"
        )


def define(values: flags.FlagValues) -> None:
    """Declares this command's flags."""
    job_spec.define(values)
    job_spec.define_restarts(values)
    place = {"flag_values": values, "module_name": "Job"}
    flags.DEFINE_string("time", None, "Limit, as sbatch takes it: 8:00:00.", **place)
    flags.DEFINE_integer(
        "array",
        None,
        "A study instead of one training: so many jobs take its trials, and what "
        "follows `--` are flags of launch.sweep.",
        lower_bound=1,
        upper_bound=job_spec.MAX_WORKERS,
        **place,
    )
    flags.DEFINE_string("partition", None, "Where to queue.", **place)
    flags.DEFINE_string("account", None, "Who pays.", **place)
    container = {"flag_values": values, "module_name": "Container"}
    flags.DEFINE_multi_string(
        "volume",
        [],
        "SOURCE:/PATH, mounted into --image; may be repeated.",
        **container,
    )
    flags.DEFINE_multi_string(
        "setup", [], "A line of shell to run first; may be repeated.", **container
    )
    resources = {"flag_values": values, "module_name": "Resources"}
    flags.DEFINE_integer(
        "cpus", None, "Cores of each worker.", lower_bound=1, **resources
    )
    flags.DEFINE_string("memory", None, "Of each worker, e.g. 16G.", **resources)


def build_script(values: flags.FlagValues, trainer_flags: list[str]) -> str:
    """Builds the batch script; https://slurm.schedmd.com/sbatch.html.

    Raises:
      UsageError: a flag is missing or has a wrong form.
    """
    job = job_spec.read_job(values, needs_image=False)
    trainer = _read_command(values, job, trainer_flags)
    exports = [
        f"export {name}={shlex.quote(value)}" for name, value in job.environment.items()
    ]
    for line in values.setup:
        if not line.strip():
            raise UsageError("--setup is empty; leave it out")
    return string.Template(_TEMPLATE.read_text()).substitute(
        directives="\n".join(_build_directives(values, job, trainer)),
        setup="\n".join([*exports, *values.setup]),
        srun=" \\\n    ".join(_build_srun(values, job, trainer)),
        max_restarts=job.max_restarts,
        final=" | ".join(map(str, FINAL_CODES)),
        requeued=" | ".join(map(str, REQUEUED_CODES)),
        peer_lost=EXIT_PEER_LOST,
    )


def _read_command(
    values: flags.FlagValues, job: TrainingJob, trainer_flags: list[str]
) -> TrainerCommand:
    if values.array is None:
        return for_scheduler(
            trainer_flags, default_run_dir=f"runs/{job.name}", threads=values.cpus
        )
    if values["workers"].present:
        raise UsageError(
            "--workers belongs to one training; with --array each job is one worker, "
            "and --workers after `--` its trials at the same time"
        )
    return study_job.read_study_command(trainer_flags)


def _build_directives(
    values: flags.FlagValues, job: TrainingJob, trainer: TrainerCommand
) -> list[str]:
    options = {
        "job-name": job.name,
        "nodes": job.workers if values.array is None else 1,
        "array": None if values.array is None else f"0-{values.array - 1}",
        "ntasks-per-node": 1,
        "cpus-per-task": values.cpus,
        "mem": _require_form(values, "memory", r"[1-9][0-9]*[KMGT]?"),
        "gpus-per-node": job.gpus or None,
        "time": _require_form(values, "time", _TIME),
        "partition": _require_form(values, "partition", _WORD),
        "account": _require_form(values, "account", _WORD),
        "signal": f"USR1@{trainer.grace_secs + SAVE_MARGIN_SECS}",
        "output": "%x-%j.log" if values.array is None else "%x-%A_%a.log",
    }
    return [
        *(f"#SBATCH --{key}={value}" for key, value in options.items() if value),
        "#SBATCH --open-mode=append",  # a job that is queued again keeps its log
        "#SBATCH --requeue",
    ]


def _build_srun(
    values: flags.FlagValues, job: TrainingJob, trainer: TrainerCommand
) -> list[str]:
    """Builds the arguments of srun, one per line.

    Whoever leaves first must not end the others, who may still be saving; --wait ends
    those that hang.
    """
    options = [
        "--distribution=block",
        "--kill-on-bad-exit=0",
        f"--wait={LEFT_BEHIND_SECS}",
    ]
    if values.cpus:
        options.append(f"--cpus-per-task={values.cpus}")  # sbatch's is not inherited
    if values.volume and job.image is None:
        raise UsageError("--volume needs --image; nodes share their disks")
    if job.image is not None:
        options.append(f"--container-image={shlex.quote(job.image)}")
    mounts = [
        ":".join(
            job_spec.split_fields(
                text, "volume", "SOURCE:/PATH", [r"/[^\s:,]+", r"/[^\s:,]+"]
            )
        )
        for text in values.volume
    ]
    if mounts:
        options.append(f"--container-mounts={shlex.quote(','.join(mounts))}")
    return [
        *options,
        shlex.join(job_spec.COMMAND if values.array is None else study_job.COMMAND),
        *map(shlex.quote, trainer.arguments),
    ]


def _require_form(values: flags.FlagValues, name: str, form: str) -> str | None:
    value = values[name].value
    if value is not None and not re.fullmatch(form, value):
        raise UsageError(f"--{name}={value} is not what sbatch takes")
    return value


def expand_hostlist(text: str) -> list[str]:
    """Expands a node list into names in SLURM's order; leading zeros are kept.

    The form is that of `scontrol show hostnames`:
    https://slurm.schedmd.com/scontrol.html

    Raises:
      ValueError: an empty list, unbalanced brackets, a range that is not one, or more
        than MAX_HOSTS hosts.
    """
    items = _HOST.findall(text)
    if not items or ",".join(items) != text:
        raise ValueError(f"{text!r} is not a host list such as node[1-4,7],login")
    hosts: list[str] = []
    for item in items:
        choices = _split_brackets(item)
        if len(hosts) + math.prod(map(len, choices)) > MAX_HOSTS:
            raise ValueError(f"{text!r} names more than {MAX_HOSTS} hosts")
        hosts += map("".join, itertools.product(*choices))
    return hosts


def _split_brackets(item: str) -> list[list[str]]:
    """Splits `a[1-2]b[3,4]` into [a], [1, 2], [b], [3, 4]; the last runs fastest."""
    parts = re.split(r"\[([^\]]*)\]", item)
    if sum(map(len, parts[::2])) > MAX_HOST_CHARS:
        raise ValueError(f"{item[:80]}… is longer than {MAX_HOST_CHARS} characters")
    return [
        _expand_ranges(part) if position % 2 else [part]
        for position, part in enumerate(parts)
    ]


def _expand_ranges(ranges: str) -> list[str]:
    """Expands `08-10,12` into zero-padded texts."""
    numbers = []
    for part in ranges.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f"[{ranges}] is not a list of ranges such as [1-4,7]")
        first, last = match[1], match[2] or match[1]
        span = range(int(first), int(last) + 1)
        count = max(span.stop - span.start, 0)  # len() has a limit
        if not 0 < count <= MAX_HOSTS - len(numbers):
            raise ValueError(f"[{part}] names {count} hosts")
        numbers += [str(number).zfill(len(first)) for number in span]
    return numbers


def _expand_task_counts(spec: str) -> list[int]:
    """Expands `2(x3),1` into [2, 2, 2, 1]."""
    counts: list[int] = []
    for part in spec.split(","):
        match = re.fullmatch(r"([0-9]{1,10})(?:\(x([0-9]{1,10})\))?", part)
        if match is None or len(counts) + int(match[2] or 1) > MAX_HOSTS:
            raise ValueError(f"tasks per node {spec!r} is not of the form 2(x3),1")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts
