"""The architecture is a test: who imports whom, and how large a thing may be."""

import ast
import collections
import graphlib
import importlib.metadata
import pathlib
import re
import subprocess
import sys

import pytest

from tests.support.commands import ROOT
from tests.support.sources import (
    ALLOWED,
    MODULES,
    MOST_FILES,
    SHARED,
    SOURCES,
    TRACKED,
    import_graph,
    imports_of,
)

# Modules that import in functions what is optional, or takes so long to load that the
# calls which need none of it should not wait.
IMPORTS_INSIDE = {
    "eval.formats.model_signature": {"model_signing"},  # optional
    "eval.inspection.inspection_run": {"eval.inspection.trained_data"},  # TensorFlow
    "eval.metrics.classification": {"sklearn"},
    "eval.metrics.significance": {"scipy"},
    "eval.predictors.engine": {"tensorflow"},  # LiteRT's own kernels need none
    "eval.predictors.outputs": {"scipy"},
    "eval.predictors.runtimes.onnx_session": {"onnxruntime"},  # optional
    "eval.predictors.sandbox": {"ai_edge_litert"},  # in the child process alone
    "eval.robustness.no_class_images": {"sklearn"},
    "export.lite.litert_quantization": {"litert_quantizer"},  # optional
    "export.measure.loader": {  # each measured by itself
        "export.measure.checkpoint_loader",
        "export.measure.litert_loader",
        "export.measure.onnx_loader",
        "export.measure.saved_model_loader",
    },
    "export.measure.results.chart": {"seaborn"},  # with pandas: two seconds
    "export.microcontroller.tflm.interpreter": {"tflite_micro"},  # optional
    "export.onnx_files.onnx_converter": {"onnx", "tf2onnx"},  # optional
    "trainer.data.augmentation.quantiles": {"scipy"},  # for mixing alone
    "trainer.data.sources.digits": {"sklearn"},
    "trainer.data.sources.tfds_preparation": {"tensorflow_datasets"},
    "trainer.monitoring.native_output": {"keras", "tensorflow"},  # while stderr is away
    "trainer.system": {"psutil"},
}


def imported(path: pathlib.Path) -> set[str]:
    return set().union(*map(imported_by, ast.walk(ast.parse(path.read_text()))))


def imported_by(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return {node.module}
    return set()


def test_packages_import_only_downwards():
    for path in SOURCES:
        package = path.relative_to(ROOT).parts[0]
        ours = {name.split(".")[0] for name in imported(path)} & ALLOWED.keys()
        extra = ours - ALLOWED[package]
        assert not extra, f"{path} imports {sorted(extra)}"


def test_launch_and_trainer_share_two_modules_alone():
    """It is of the standard library, so that launch starts in an instant."""
    for path in (ROOT / "launch").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "trainer":
                assert {alias.name for alias in node.names} <= SHARED, path
            else:
                names = imported_by(node)
                ours = {name for name in names if name.split(".")[0] == "trainer"}
                assert ours <= {f"trainer.{name}" for name in SHARED}, path
    for name in (*SHARED, "__init__"):
        roots = {n.split(".")[0] for n in imported(ROOT / "trainer" / f"{name}.py")}
        assert roots <= sys.stdlib_module_names


def test_launch_needs_two_packages_and_a_study_optuna():
    ours = {"launch", "trainer"}
    for path in (ROOT / "launch").rglob("*.py"):
        roots = {name.split(".")[0] for name in imported(path)}
        allowed = {"absl", "yaml"}
        if path.parent.name == "study":
            allowed |= {"optuna", "sqlalchemy"}
        assert roots - sys.stdlib_module_names - ours <= allowed, path


def test_there_is_one_keras():
    for path in TRACKED:
        assert "tf_keras" not in imported(path)
        used = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)
            and node.attr == "keras"
            and isinstance(node.value, ast.Name)
            and node.value.id in ("tf", "tensorflow")
        ]
        assert not used, f"{path}:{used[0].lineno} uses tf.keras"


def test_the_builtin_eval_is_not_shadowed():
    for path in TRACKED:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                bare = [a for a in node.names if a.name == "eval" or a.asname == "eval"]
                assert not bare, f"{path}:{node.lineno}"


def test_files_and_functions_are_small():
    for path in [*SOURCES, *(ROOT / "benchmarks").glob("*.py")]:
        text = path.read_text()
        assert len(text.splitlines()) <= 500, path  # a concept a file, not a noun
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                size = node.end_lineno - node.lineno + 1
                assert size <= 40, f"{path}:{node.lineno} {node.name} has {size} lines"


def test_no_modules_import_each_other():
    """Not even for types: a reader can begin with any module and only go down."""
    try:
        graphlib.TopologicalSorter(import_graph()).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(error.args[1]))


def test_a_folder_can_be_seen_at_a_glance():
    found = collections.Counter(path.parent for path in SOURCES)
    assert not {str(k): n for k, n in found.items() if n > MOST_FILES}


def test_a_name_means_one_thing_in_all_packages():
    modules, classes = collections.defaultdict(list), collections.defaultdict(list)
    for name, path in MODULES.items():
        # A folder may be named as its first module.
        if path.name not in ("__init__.py", "__main__.py"):
            modules[path.stem].append(name)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes[node.name].append(name)
    for name in modules:  # a command of launch may be named as its platform
        if set(modules[name]) == {f"launch.{name}", f"launch.platforms.{name}"}:
            modules[name] = [f"launch.{name}"]
    twice = {k: v for k, v in modules.items() if len(v) > 1}
    assert not twice
    assert not {k: v for k, v in classes.items() if len(v) > 1}


def test_imports_stand_at_the_top_of_a_module():
    """But one import in a command, of what takes long: its help comes at once."""
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text())
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
        inside = [one for function in functions for one in imports_of(function)]
        roots = {one if one in MODULES else one.split(".")[0] for one in inside}
        extra = roots - IMPORTS_INSIDE.get(name, set())
        command = name.count(".") == 1 and "__main__" in path.read_text()
        assert len(extra) <= command, f"{name} imports {sorted(extra)} in functions"


def test_no_test_module_imports_another():
    """What tests share stands in tests/support."""
    for path in (ROOT / "tests").rglob("*.py"):
        for one in imports_of(ast.parse(path.read_text())):
            if one.split(".")[0] == "tests":
                assert one == "tests" or one.startswith("tests.support"), (path, one)


def test_tests_mirror_the_packages():
    """A test that is named as a module stands where that module does."""
    for package in ALLOWED:
        folders = collections.defaultdict(set)
        for path in (ROOT / package).rglob("*.py"):
            folders[f"test_{path.name}"].add(path.parent.relative_to(ROOT))
        for path in (ROOT / "tests" / package).rglob("test_*.py"):
            folder = path.parent.relative_to(ROOT / "tests")
            assert (ROOT / folder).is_dir(), path
            assert folder in folders.get(path.name, {folder}), path


def test_every_requirement_is_pinned():
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / name).read_text().splitlines():
            wanted = line.split("#")[0].strip()
            assert not wanted or wanted.startswith("-r") or "==" in wanted, line


def test_no_test_is_skipped_for_want_of_a_pinned_package():
    lines = [
        line.partition("==")[0].strip().lower()
        for name in ("requirements.txt", "requirements-dev.txt")
        for line in (ROOT / name).read_text().splitlines()
        if "==" in line and not line.startswith("#")
    ]
    owners = importlib.metadata.packages_distributions()
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and "importorskip" in ast.unparse(node.func):
                root = ast.literal_eval(node.args[0]).split(".")[0]
                names = {owner.lower() for owner in owners.get(root, [root])}
                assert not names & set(lines), f"{path} may skip for {root}"


def test_nothing_of_a_training_is_in_the_repository():
    done = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    for name in done.stdout.splitlines():
        assert not name.startswith(("runs/", "data/", ".venv/")), name
        assert ".tfrecord" not in name, name


COMMANDS = {"cli", "main.py", "prepare.py", "recheck.py", "__main__.py"}
OF_GIT = {"--always", "--dirty=+", "--abbrev=12"}


def docstrings(tree: ast.AST) -> set[int]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, kinds)]
    first = [body[0] for body in bodies if body and isinstance(body[0], ast.Expr)]
    return {id(node.value) for node in first}


def test_the_library_names_options_and_no_flags():
    """Scripts call it, too; trainer/cli makes flags of options for its commands."""
    for path in (ROOT / "trainer").rglob("*.py"):
        if path.relative_to(ROOT).parts[1] in COMMANDS:
            continue
        tree = ast.parse(path.read_text())
        documented = docstrings(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
                if id(node) not in documented and text not in OF_GIT:
                    assert not re.search("--[a-z_]+", text), f"{path}:{node.lineno}"
