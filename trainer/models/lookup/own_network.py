"""A user's network: the file that holds it, checked before and imported after.

`my_net.py:network` names a function of a file, `package.module:network` one of a module
that can be imported; the working directory is on the path. The file is parsed first: a
name that is not there and a wrong option are found without running it.
"""

import ast
import contextlib
import dataclasses
import hashlib
import importlib
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import symtable
import sys
import traceback
import types
from collections.abc import Iterator
from typing import Any

from trainer import errors, files
from trainer.config.options import require
from trainer.config.parsing import parse_path
from trainer.config.schema import PENDING, ModelConfig
from trainer.errors import InvalidConfig, InvalidInput
from trainer.models.lookup import signatures
from trainer.models.lookup.signatures import Signature

SOURCE_BYTES = 1 << 20  # the largest file that is read; 20,000 lines have less
SHOWN = 6  # functions that a message lists


@dataclasses.dataclass(frozen=True)
class NetworkFile:
    """The source file of a user's network.

    Attributes:
        path: where it is.
        module: its name as part of a package; None: a file that is named by its path.
        function: the name of the function in it.
        content: its bytes, those that are hashed and run.
    """

    path: pathlib.Path
    module: str | None
    function: str
    content: bytes

    @property
    def name(self) -> str:
        """The name of the network, without the folder, which differs by machine."""
        return f"{self.module or self.path.name}:{self.function}"

    @property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.content).hexdigest()

    def signature(self) -> Signature | None:
        """Reads the options of the function; None if the source does not tell them.

        Raises:
            InvalidConfig: the function cannot be called as a network is.
        """
        called = f"model={self.name}"
        return signatures.parse_signature(self._text(), self.function, called)

    def check(self) -> None:
        """Raises InvalidConfig unless the source defines the function."""
        try:
            tree = ast.parse(self.content)
            found = symtable.symtable(self._text(), str(self.path), "exec")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None)
            raise InvalidConfig(
                f"model={self.name}: {self.path} is no Python source"
                f"{f': line {line}' if line else ''}: {errors.first_line(error)}"
            ) from error
        nodes = ast.walk(tree)
        stars = any(isinstance(n, ast.alias) and n.name == "*" for n in nodes)
        require(
            stars or self.function in found.get_identifiers(),
            f"model={self.name}: there is no {self.function} in {self.path}; it has "
            f"{_functions(tree)}",
        )

    def load(self) -> Any:
        """Imports the file; returns the function or the model.

        Raises:
            InvalidInput: the file raises an error, or what it holds is no network.
        """
        _add_paths(self)
        with self.explained("cannot be imported"):
            module = self._import()
        if not hasattr(module, self.function):
            raise InvalidConfig(
                f"model={self.name}: there is no {self.function} in {self.path} once "
                "it is imported"
            )
        return getattr(module, self.function)

    @contextlib.contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Turns errors of the user's code into InvalidInput with file and line."""
        try:
            yield
        except InvalidInput:
            raise
        except (Exception, SystemExit) as error:
            if errors.unwrap_interruption(error) is not error:
                raise
            said = f"{type(error).__name__}: {errors.first_line(error)}"
            raise InvalidInput(
                f"model={self.name} {what}: {said}\n({self._location(error)})"
            ) from error

    def _location(self, error: BaseException) -> str:
        """The last line of the user's file that led to `error`."""
        if isinstance(error, SyntaxError) and error.filename:
            return f"{error.filename}, line {error.lineno}"
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == str(self.path)]
        if not own:
            return f"{self.path}; see the traceback with `debug`"
        return f"{self.path}, line {own[-1].lineno}; see the traceback with `debug`"

    def _import(self) -> types.ModuleType:
        if self.module is not None:
            return importlib.import_module(self.module)
        # Its own name might be that of a package, such as keras.py.
        name = f"network_file_{re.sub(r'[^0-9A-Za-z_]', '_', self.path.stem)}"
        spec = importlib.util.spec_from_file_location(name, self.path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        exec(compile(self.content, str(self.path), "exec"), module.__dict__)  # noqa: S102
        return module

    def _text(self) -> str:
        return importlib.util.decode_source(self.content)


def _functions(tree: ast.Module) -> str:
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    shown = ", ".join(names[:SHOWN]) or "no functions"
    return f"{shown} and others" if len(names) > SHOWN else shown


def open_network(name: str) -> NetworkFile:
    """Finds and checks FILE.py:FUNCTION or package.module:FUNCTION, without running it.

    Raises:
        InvalidInput: there is no such file, module or function.
    """
    where, colon, function = name.rpartition(":")
    require(
        colon == ":" and function.isidentifier() and where.strip() == where != "",
        f"model={name} must be FILE.py:FUNCTION or package.module:FUNCTION, e.g. "
        "my_net.py:network",
    )
    if where.endswith(".py"):
        path, module = pathlib.Path(os.path.abspath(parse_path("model", where))), None
    else:
        path, module = _find_module(name, where), where
    found = NetworkFile(path, module, function, _content(name, path))
    found.check()
    return found


def reopen_network(config: ModelConfig, path: str | None) -> NetworkFile | None:
    """Opens the file of `config` again, which `registry.locate_network` found.

    Returns None if the network has no file, or is known without it.

    Raises:
        InvalidInput: it is gone, or it has changed since.
    """
    if config.source_sha256 is None or config.architecture != PENDING:
        return None
    where, _, function = config.name.rpartition(":")
    module = None if where.endswith(".py") else where
    content = _content(config.name, pathlib.Path(path))
    found = NetworkFile(pathlib.Path(path), module, function, content)
    if found.sha256 != config.source_sha256:
        raise InvalidInput(
            f"{path} was changed while the training started; start again"
        )
    return found


def _content(name: str, path: pathlib.Path) -> bytes:
    try:
        return files.read_bytes(path, SOURCE_BYTES)
    except OSError as error:
        raise InvalidConfig(
            f"model={name}: {path} cannot be read: {error.strerror}; name a file that "
            "is there"
        ) from error


def _find_module(name: str, module: str) -> pathlib.Path:
    """Finds the source file of a module; its packages are not imported."""
    parts = module.split(".")
    require(
        all(part.isidentifier() for part in parts),
        f"model={name}: {module} is neither a file FILE.py nor a module's name",
    )
    paths, spec = [os.getcwd(), *sys.path], None
    for number in range(1, len(parts) + 1):
        known = ".".join(parts[:number])
        spec = _find_spec(known, paths)
        require(spec is not None, f"model={name}: there is no module {known}")
        paths = list(spec.submodule_search_locations or [])
    require(
        spec.has_location and str(spec.origin).endswith(".py"),
        f"model={name}: {module} has no source file of Python",
    )
    return pathlib.Path(os.path.abspath(spec.origin))


def _find_spec(name: str, paths: list[str]) -> Any:
    """Asks the finders of this process for a module, without importing its package."""
    found = importlib.machinery.PathFinder.find_spec(name, paths)
    if found is None and "." not in name:
        with contextlib.suppress(ImportError, ValueError):
            found = importlib.util.find_spec(name)  # also built-in and editable ones
    return found


def _add_paths(file: NetworkFile) -> None:
    """Puts the working directory on the path, and the folder of the file behind it."""
    for folder in (str(file.path.parent) if file.module is None else None, os.getcwd()):
        if folder and folder not in (os.path.abspath(p) for p in sys.path):
            sys.path.insert(0, folder)
