"""Search space: which flags of the trainer a study varies, and over which values.

>>> parse_try("learning_rate=log:1e-4:1e-1").to_json()
{'type': 'float', 'range': [0.0001, 0.1], 'log': True}
>>> parse_try("model_kwargs.width=0.5,1,2").arguments(0.5)
['--model_kwargs=width=0.5']
"""

import dataclasses
import itertools
import math
import pathlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from launch.command_line import UsageError, require_utf8

Value = float | int | str
Values = dict[str, Value]  # value by name of the flag

MAX_GRID = 10_000
MAX_FILE_BYTES = 1 << 20
_EVERY_INTEGER = 64  # a range of so many integers is checked value by value
_KINDS = {"log": "float", "float": "float", "int": "int", "logint": "int"}
_FORMS = (
    "log:LOW:HIGH, float:LOW:HIGH, int:LOW:HIGH, int:LOW:HIGH:STEP, logint:LOW:HIGH, "
    "each perhaps with /POINTS for a grid, or VALUE,VALUE"
)
_NAME = re.compile(r"[a-z][a-z0-9_]*|model_kwargs\.[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_KEYS = {"type", "range", "log", "step", "points", "choices"}
# Flags that a study cannot vary, and why.
_FIXED = {
    "seed": "name the number of seeds with --seeds",
    "model_kwargs": "vary one option, e.g. --try model_kwargs.width=0.5,1",
    **dict.fromkeys(
        ("run_dir", "runs_root", "resume", "dry_run", "test", "pause_at", "strategy"),
        "the study sets it for each trial",
    ),
    **dict.fromkeys(
        ("dataset", "data_dir", "image_dir", "image_list", "test_fraction")
        + ("validation_fraction", "skip_unreadable", "eval_tta", "eval_every_epochs"),
        "accuracies on other validation rows cannot be compared",
    ),
    **dict.fromkeys(
        ("flagfile", "debug", "model_summary", "profile_steps", "grace_secs")
        + ("threads", "keep_checkpoints", "log_every_steps"),
        "it decides no result",
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchParameter:
    """One flag and its values: a range of numbers, or choices.

    Attributes:
      flag: the trainer's name of it; `model_kwargs.NAME` is one option of the network.
      type: "float", "int" or "categorical".
      bounds: both ends of a range, which belong to it; None with choices.
      log: whether the logarithm of the number is drawn uniformly.
      step: distance of the numbers of a range; None: any number, or every integer.
      points: how many numbers of the range a grid has.
      choices: the values of a categorical parameter, in their order.
    """

    flag: str
    type: str
    bounds: tuple[float, float] | None = None
    log: bool = False
    step: float | None = None
    points: int | None = None
    choices: tuple[Value, ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.flag)
        if self.bounds is None:
            self._check_choices()
        else:
            self._check_range(*self.bounds)

    def _check_choices(self) -> None:
        named = f"--try {self.flag}"
        if len(self.choices) < 2:
            got = ", ".join(map(str, self.choices)) or "none"
            raise UsageError(
                f"{named} needs two values or a range, got {got}; write {_FORMS}"
            )
        texts = [format_value(choice) for choice in self.choices]
        for text in texts:
            if not text or not text.isprintable():
                raise UsageError(f"{named} has the empty or unprintable value {text!r}")
            require_utf8(text)
        if len(set(texts)) < len(texts):
            raise UsageError(f"{named}={','.join(texts)} names a value twice")

    def _check_range(self, low: float, high: float) -> None:
        named = f"--try {self.flag} from {low} to {high}"
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UsageError(f"{named}: both must be finite, and the first one lower")
        if self.log and low <= 0:
            raise UsageError(f"{named}: a logarithmic range must be above 0")
        step = self.step
        if step is not None and (self.log or not 0 < step <= high - low):
            raise UsageError(
                f"{named}: its step {step} must be above 0 and no longer than the "
                "range, and a logarithmic range has none"
            )
        if self.points is not None and not 2 <= self.points <= MAX_GRID:
            raise UsageError(f"{named}: {self.points} points must be 2 to {MAX_GRID}")

    def grid(self) -> list[Value]:
        """Lists the values of a grid.

        Raises:
          UsageError: it is a range without a number of points.
        """
        if self.bounds is None:
            return list(self.choices)
        low, high = self.bounds
        if self.points is None:
            if self.log or (self.type == "float" and self.step is None):
                raise UsageError(
                    f"--try {self.flag} from {low} to {high}: a grid needs the number "
                    "of points; add e.g. /4 at the end, or take --sampler=random"
                )
            step = self.step or 1
            count = math.floor((high - low) / step * (1 + 1e-12)) + 1
            if count > MAX_GRID:
                raise UsageError(
                    f"--try {self.flag} has {count} values, a grid at most {MAX_GRID}"
                )
            return [self._cast(low + step * i) for i in range(count)]
        parts = [i / (self.points - 1) for i in range(self.points)]
        if self.log:
            found = [low * (high / low) ** part for part in parts]
        else:
            found = [low + (high - low) * part for part in parts]
        # Six digits: 0.001 instead of 0.0010000000000000002; the ends stay.
        inner = [float(f"{value:.6g}") for value in found[1:-1]]
        return list(dict.fromkeys(map(self._cast, [low, *inner, high])))

    def checked_values(self) -> list[Value]:
        """Values which stand for all that can be drawn, as bounds are intervals."""
        if self.bounds is None:
            return list(self.choices)
        low, high = self.bounds
        step = self.step or 1
        if self.type == "int" and (high - low) / step < _EVERY_INTEGER:
            return [self._cast(v) for v in range(int(low), int(high) + 1, int(step))]
        return [self._cast(low), self._cast(high)]

    def arguments(self, value: Value) -> list[str]:
        """Returns the trainer's arguments for `value`."""
        name, _, option = self.flag.partition(".")
        text = format_value(value)
        return [f"--{name}={option}={text}" if option else f"--{name}={text}"]

    def to_json(self) -> dict[str, Any]:
        """Describes it as in study.json and as in a file of a space."""
        if self.bounds is None:
            return {"type": self.type, "choices": list(self.choices)}
        found: dict[str, Any] = {
            "type": self.type,
            "range": [self._cast(end) for end in self.bounds],
            "log": self.log,
        }
        more = {"step": self.step, "points": self.points}
        return found | {name: value for name, value in more.items() if value}

    def _cast(self, value: float) -> Value:
        return round(value) if self.type == "int" else float(value)


@dataclasses.dataclass(frozen=True)
class SearchSpace:
    """The parameters of a study, by flag; without any there is one configuration."""

    parameters: tuple[SearchParameter, ...]

    def __post_init__(self) -> None:
        names = [parameter.flag for parameter in self.parameters]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"--try {name} is given twice; leave one out")

    def grid(self) -> list[Values]:
        """Lists all configurations of a grid, the last parameter varies fastest.

        Raises:
          UsageError: a range has no points, or there are too many.
        """
        columns = [parameter.grid() for parameter in self.parameters]
        if (count := math.prod(map(len, columns))) > MAX_GRID:
            raise UsageError(
                f"the grid has {count:,} configurations, at most {MAX_GRID:,} are "
                "possible; take fewer values, or --sampler=random"
            )
        return [self._name(row) for row in itertools.product(*columns)]

    def checked_configurations(self, limit: int) -> Iterator[Values]:
        """Yields up to `limit` configurations that cover what can be drawn.

        First each value of each parameter beside the first ones of the others, then the
        other combinations, evenly spread over all of them.
        """
        columns = [parameter.checked_values() for parameter in self.parameters]
        base = [column[0] for column in columns]
        rows = [base]
        for i, column in enumerate(columns):
            rows += [[*base[:i], value, *base[i + 1 :]] for value in column[1:]]
        total = math.prod(map(len, columns))
        rest = max(0, limit - len(rows))
        stride = max(1, math.ceil(total / rest)) if rest else total
        rows += itertools.islice(itertools.product(*columns), 0, None, stride)
        for row in dict.fromkeys(map(tuple, rows)):
            yield self._name(row)

    def arguments(self, values: Mapping[str, Value]) -> list[str]:
        """Returns the trainer's arguments of a configuration."""
        return [
            argument
            for parameter in self.parameters
            for argument in parameter.arguments(values[parameter.flag])
        ]

    def to_json(self) -> dict[str, Any]:
        """Describes it as in study.json."""
        return {each.flag: each.to_json() for each in self.parameters}

    def _name(self, row: Sequence[Value]) -> Values:
        names = [parameter.flag for parameter in self.parameters]
        return dict(zip(names, row, strict=True))


def format_value(value: Value) -> str:
    """Formats a value as the trainer's flags read it."""
    return repr(value) if isinstance(value, float) else str(value)


def parse_space(texts: Sequence[str], path: str | None) -> SearchSpace:
    """Reads the file of a space, if there is one, and adds `NAME=VALUES` texts.

    Raises:
      UsageError: a text or the file has a wrong form.
    """
    from_file = [] if path is None else _read_file(path)
    return SearchSpace((*from_file, *map(parse_try, texts)))


def from_json(fields: Mapping[str, Any], named: str = "the space") -> SearchSpace:
    """Reads what `to_json` described, or the content of a file of a space.

    Raises:
      UsageError: it has a wrong form.
    """
    return SearchSpace(
        tuple(_from_table(flag, table, named) for flag, table in _flatten(fields))
    )


def parse_try(text: str) -> SearchParameter:
    """Parses `NAME=VALUES`.

    Raises:
      UsageError: it has another form.
    """
    require_utf8(text)
    name, equals, values = text.partition("=")
    if not equals:
        raise UsageError(f"--try {text} must be NAME={_FORMS}")
    _check_name(name)
    kind, colon, rest = values.partition(":")
    if colon and kind in _KINDS:
        return _parse_range(name, kind, rest)
    choices = tuple(_parse_choice(word) for word in values.split(","))
    return SearchParameter(flag=name, type="categorical", choices=choices)


def _parse_range(name: str, kind: str, text: str) -> SearchParameter:
    numbers, slash, points = text.partition("/")
    fields = numbers.split(":")
    steps = kind == "int" and len(fields) == 3
    if len(fields) != 2 and not steps or slash and not re.fullmatch(r"\d{1,9}", points):
        raise UsageError(f"--try {name}={kind}:{text} must be NAME={_FORMS}")
    found = [_parse_number(name, field, _KINDS[kind]) for field in fields]
    return SearchParameter(
        flag=name,
        type=_KINDS[kind],
        bounds=(found[0], found[1]),
        log=kind.startswith("log"),
        step=found[2] if steps else None,
        points=int(points) if slash else None,
    )


def _parse_number(name: str, text: str, kind: str) -> float:
    try:
        return int(text) if kind == "int" else float(text)
    except ValueError:
        whole = "a whole number" if kind == "int" else "a number"
        raise UsageError(f"--try {name}: {text!r:.80} is not {whole}") from None


def _parse_choice(word: str) -> Value:
    """Converts what is certainly a number; `010` may be a name."""
    if not _NUMBER.fullmatch(word):
        return word
    return int(word) if re.fullmatch(r"-?[0-9]{1,18}", word) else float(word)


def _check_name(name: str) -> None:
    if name in _FIXED:
        raise UsageError(f"--try {name} is not possible: {_FIXED[name]}")
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--try {name!r:.80} is not the name of a flag; write it as trainer.main "
            "does, without dashes, e.g. learning_rate"
        )


def _read_file(path: str) -> list[SearchParameter]:
    named = f"--space={path}"
    try:
        if (size := pathlib.Path(path).stat().st_size) > MAX_FILE_BYTES:
            raise UsageError(f"{named} has {size:,} bytes, the limit is 1 MiB")
        found = tomllib.loads(pathlib.Path(path).read_bytes().decode())
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{named} cannot be read as TOML: {reason}") from error
    return list(from_json(found, named).parameters)


def _flatten(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields (flag, table); `[model_kwargs.width]` is a table inside a table."""
    for flag, table in fields.items():
        inner = isinstance(table, dict) and not _KEYS.intersection(table)
        if flag == "model_kwargs" and inner:
            yield from ((f"{flag}.{name}", each) for name, each in table.items())
        else:
            yield flag, table


def _from_table(flag: str, table: Any, named: str) -> SearchParameter:
    where = f"{named}: [{flag}]"
    if not isinstance(table, dict) or not table:
        raise UsageError(f"{where} must be a table with range or choices")
    if unknown := sorted(set(table) - _KEYS):
        raise UsageError(
            f"{where} has the unknown key {unknown[0]!r}; known: "
            f"{', '.join(sorted(_KEYS))}"
        )
    if ("range" in table) == ("choices" in table):
        raise UsageError(f"{where} needs either range or choices")
    if "choices" in table:
        return SearchParameter(
            flag=flag, type="categorical", choices=_choices_of(table, where)
        )
    return _range_of(flag, table, where)


def _choices_of(table: Mapping[str, Any], where: str) -> tuple[Value, ...]:
    found, more = table["choices"], set(table) - {"choices", "type"}
    scalars = isinstance(found, list) and all(
        isinstance(value, str | int | float) for value in found
    )
    if not scalars or more or table.get("type", "categorical") != "categorical":
        raise UsageError(
            f"{where} has choices, so type must be categorical, and choices a list of "
            "numbers, texts or booleans"
        )
    return tuple(
        str(value).lower() if isinstance(value, bool) else value for value in found
    )


def _range_of(flag: str, table: Mapping[str, Any], where: str) -> SearchParameter:
    ends, kind = table["range"], table.get("type")
    numbers = (int,) if kind == "int" else (int, float)
    if not isinstance(ends, list) or len(ends) != 2:
        raise UsageError(f"{where}: range={ends!r:.80} must be two numbers")
    given = [*ends, *(table[k] for k in ("step", "points") if k in table)]
    if any(type(value) not in numbers for value in given):
        raise UsageError(
            f"{where}: range, step and points must be numbers, whole ones with type int"
        )
    if kind is None:
        whole = all(type(end) is int for end in (*ends, table.get("step", 1)))
        kind = "int" if whole else "float"
    log = table.get("log", False)
    points = table.get("points")
    if kind not in ("int", "float") or type(log) is not bool:
        raise UsageError(
            f"{where}: type={kind!r:.80} must be int or float, log a boolean"
        )
    if points is not None and type(points) is not int:
        raise UsageError(f"{where}: points={points} must be a whole number")
    return SearchParameter(
        flag=flag,
        type=kind,
        bounds=(ends[0], ends[1]),
        log=log,
        step=table.get("step"),
        points=points,
    )
