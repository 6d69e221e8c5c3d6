"""Prints the manifests of a job for Kubernetes."""

import re
import sys
from collections.abc import Sequence
from typing import Any

import yaml
from absl import flags

from launch import command_line
from launch.platforms import job_spec, platform_registry
from launch.platforms.kubernetes import pod

USAGE = """launch.kubernetes: prints the manifests of a job for Kubernetes.

    python -m launch.kubernetes --kind=jobset --name=NAME --image=IMAGE \\
        --volume=CLAIM:/runs [flags] -- TRAINER FLAGS | kubectl apply -f -

job: an Indexed Job with its headless service, on any cluster from version 1.29 on.
jobset: needs JobSet; the whole group is started again, which TensorFlow needs anyway.
trainjob: needs Kubeflow Trainer 2; a TensorFlow TrainingRuntime comes with it.
tfjob: needs Kubeflow's former Training Operator.
"""

# YAML 1.1 reads many words as something else, and its readers differ: `y` and `1e3` are
# texts to PyYAML and not to kubectl. What is not plainly a word is quoted.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*(?::[A-Za-z0-9_./-]+)*")
_NOT_WORDS = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}


class ManifestDumper(yaml.SafeDumper):
    """Dumper of YAML without anchors, with quotes around ambiguous texts."""

    def ignore_aliases(self, data: object) -> bool:
        """Writes repeated values in full."""
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Quotes `text` unless it is a plain word."""
        plain = _PLAIN.fullmatch(text) and text.lower() not in _NOT_WORDS
        return self.represent_scalar(
            "tag:yaml.org,2002:str", text, "" if plain else '"'
        )


ManifestDumper.add_representer(str, ManifestDumper.represent_text)


def define(values: flags.FlagValues) -> None:
    """Declares this command's flags."""
    kinds = list(platform_registry.manifest_platforms())
    flags.DEFINE_enum(
        "kind",
        None,
        kinds,
        f"What runs it: {', '.join(kinds)}.",
        flag_values=values,
        module_name="Job",
    )
    flags.DEFINE_string(
        "namespace",
        None,
        "Kubernetes namespace; kubectl's own without it.",
        flag_values=values,
        module_name="Job",
    )
    job_spec.define(values)
    job_spec.define_restarts(values)
    pod.define(values)
    pod.define_study(values)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the manifests."""
    return command_line.run(USAGE, define, _print_manifests, arguments)


def _print_manifests(values: flags.FlagValues, trainer_flags: list[str]) -> int:
    print(dump_yaml(build_manifests(values, trainer_flags)), end="")
    return 0


def build_manifests(
    values: flags.FlagValues, trainer_flags: list[str]
) -> list[dict[str, Any]]:
    """Builds the documents to apply, in their order.

    Raises:
      UsageError: a flag is missing or has a wrong form.
    """
    platforms = platform_registry.manifest_platforms()
    if values.kind is None:
        raise command_line.UsageError(f"--kind is missing: {', '.join(platforms)}")
    if values.study and values.kind != "job":
        raise command_line.UsageError(
            f"--study needs --kind=job, got --kind={values.kind}: its workers do not "
            "form a group"
        )
    described = pod.read_pod(values, trainer_flags)
    platform_registry.check_environment(values.env)
    documents = platforms[values.kind].build_manifests(described)
    if values.namespace is not None:
        job_spec.split_fields(
            values.namespace, "namespace", "a-name", [r"[a-z0-9][-a-z0-9]{0,62}"]
        )
        for document in documents:
            document["metadata"]["namespace"] = values.namespace
    return documents


def dump_yaml(documents: list[Any]) -> str:
    """Formats documents as one text that people can read and edit."""
    return yaml.dump_all(
        documents,
        Dumper=ManifestDumper,
        sort_keys=False,
        allow_unicode=True,
        width=2**20,  # a text stays on its line
    )


if __name__ == "__main__":
    sys.exit(main())
