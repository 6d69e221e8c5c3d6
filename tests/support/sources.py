"""The source files of the four packages, and which of them imports which."""

import ast
import pathlib
from collections.abc import Iterator

from tests.support.commands import ROOT

ALLOWED = {
    "trainer": {"trainer"},
    "eval": {"trainer", "eval"},
    "export": {"trainer", "eval", "export"},
    "launch": {"launch", "trainer"},  # of it SHARED alone
}
MOST_FILES = 12  # of Python in a folder
SHARED = {"contract", "streams"}  # modules of trainer that launch imports
SOURCES = sorted(p for name in ALLOWED for p in (ROOT / name).rglob("*.py"))
TRACKED = [
    *SOURCES,
    *(ROOT / "tests").rglob("*.py"),
    *(ROOT / "benchmarks").glob("*.py"),
]


def module_name(path: pathlib.Path) -> str:
    """`trainer.data` of trainer/data/__init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in SOURCES}
COMMANDS = [
    name
    for name, path in MODULES.items()
    if path.parent.parent == ROOT and 'if __name__ == "__main__"' in path.read_text()
]


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Modules that are imported anywhere inside: for types and in functions, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def import_graph() -> dict[str, set[str]]:
    """Each module of ours, and those of ours that it imports."""
    trees = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
    return {
        name: {one for one in imports_of(tree) if one in MODULES and one != name}
        for name, tree in trees.items()
    }
