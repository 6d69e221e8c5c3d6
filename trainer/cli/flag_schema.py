"""Generates flags from config dataclasses, configs from flags, and a table of flags.

Synopsis::

    values = flags.FlagValues()
    flag_schema.define(values, Config, RunConfig, choices={"model": ["cnn"]})
    values(sys.argv)
    config = flag_schema.build(Config, values)

A field with an Option has a flag; the fields of nested configs have flags, too.
"""

import dataclasses
import enum
import re
import types
import typing
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from absl import flags

from trainer.config.options import GROUPS, KEY, Option


@dataclasses.dataclass(frozen=True)
class Declared:
    """One flag.

    Attributes:
        name: the name without dashes.
        type: the type of its value, without None.
        default: the default of the field.
        option: help, bounds and parser.
        group: its heading.
    """

    name: str
    type: Any
    default: Any
    option: Option
    group: str


def declared(*configs: type) -> list[Declared]:
    """Lists the flags of config classes and of configs nested in them, by heading.

    Headings that are not in `options.GROUPS` follow at the end.
    """
    found = [each for config in configs for each in _fields(config)]
    headings = dict.fromkeys([*GROUPS, *(each.group for each in found)])
    return [each for name in headings for each in found if each.group == name]


def _fields(config: type) -> Iterator[Declared]:
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        kind, option = _without_none(hints[field.name]), field.metadata.get(KEY)
        if dataclasses.is_dataclass(kind):
            yield from _fields(kind)
        elif option is not None:
            default = field.default
            if default is dataclasses.MISSING:
                default = field.default_factory()
            group = option.group or config.GROUP
            yield Declared(option.flag or field.name, kind, default, option, group)


def _without_none(hint: Any) -> Any:
    """Converts `T | None` to T, and `dict[...]` to dict."""
    if isinstance(hint, types.UnionType):
        (hint,) = [arg for arg in typing.get_args(hint) if arg is not types.NoneType]
    return typing.get_origin(hint) or hint


def define(
    values: flags.FlagValues,
    *configs: type,
    choices: Mapping[str, Sequence[str]] | None = None,
    only: Container[str] | None = None,
) -> None:
    """Declares the flags of `configs` on `values`, under their headings.

    Args:
        values: the flags are added to it.
        configs: dataclasses whose fields have an Option.
        choices: texts that the help names, by the name of the flag; others are not
            refused here.
        only: names of the flags that are declared; None: all.
    """
    found = [each for each in declared(*configs) if only is None or each.name in only]
    names = {each.name for each in found} | set(values)
    for each in found:
        text = _as_flags(each.option.help, names)
        where = {"flag_values": values, "module_name": each.group}
        shown = None if each.default == {} else each.default
        if choices and each.name in choices:
            text = f"{text} Names: {', '.join(choices[each.name])}."
        if issubclass(each.type, enum.Enum):
            texts = [member.value for member in each.type]
            flags.DEFINE_enum(each.name, shown.value, texts, text, **where)
        else:
            _define_plain(each, shown, text, where)


def _define_plain(
    each: Declared, default: Any, text: str, where: dict[str, Any]
) -> None:
    kind = each.type
    if each.option.parse is not None and kind is not dict:
        kind = str
    kinds = {
        bool: flags.DEFINE_bool,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
        dict: flags.DEFINE_multi_string,
    }
    kinds[kind](each.name, default, text, **where)
    where["flag_values"][each.name].help = text  # absl appends text to that of lists


def _as_flags(text: str, names: set[str], quote: str = "") -> str:
    """Replaces options in backquotes by flags, enclosed in `quote`, in a help text."""

    def translate(match: re.Match[str]) -> str:
        known = match[1].partition("=")[0] in names
        return f"{quote}--{match[1]}{quote}" if known else match[0]

    return re.sub(r"`([^`]+)`", translate, text)


def parse(
    values: flags.FlagValues, only: Container[str], *configs: type
) -> dict[str, Any]:
    """The values of the flags `only` of `configs`, by name, as their fields have them.

    Raises:
        InvalidConfig: a value is out of range.
    """
    found = {}
    for each in declared(*configs):
        if each.name in only:
            text = values[each.name].value
            value = (
                None
                if text is None
                else _value(text, each.type, each.option, each.name)
            )
            each.option.bounds.check(each.name, value)
            found[each.name] = value
    return found


def build(config: type, values: flags.FlagValues, **given: Any) -> Any:
    """Builds a config from parsed flags.

    Args:
        config: a dataclass whose flags are in `values`.
        values: parsed flags.
        given: values of fields that have no flag, also in nested configs, by name.

    Raises:
        InvalidConfig: a value is out of range or contradicts another.
    """
    hints, found = typing.get_type_hints(config), {}
    for field in dataclasses.fields(config):
        kind, option = _without_none(hints[field.name]), field.metadata.get(KEY)
        if dataclasses.is_dataclass(kind):
            found[field.name] = build(kind, values, **given)
        elif option is None:
            if field.name in given:
                found[field.name] = given[field.name]
        elif (value := values[option.flag or field.name].value) is not None:
            found[field.name] = _value(value, kind, option, option.flag or field.name)
    return config(**found)


def _value(value: Any, kind: Any, option: Option, name: str) -> Any:
    if option.parse is not None:
        return option.parse(name, value)
    return kind(value) if issubclass(kind, enum.Enum) else value


def table(*configs: type, choices: Mapping[str, Sequence[str]] | None = None) -> str:
    """Formats the flags of `configs` as Markdown, a table under each heading."""
    found, lines, heading = declared(*configs), [], None
    names = {each.name for each in found}
    for each in found:
        if each.group != heading:
            heading = each.group
            lines += ["", f"## {heading}", ""]
            lines += ["| flag | default | values | meaning |", "|---|---|---|---|"]
        default = getattr(each.default, "value", each.default)
        default = str(default).lower() if each.type is bool else default
        shown = "" if default in (None, {}) else f"`{default}`"
        text = _as_flags(each.option.help, names, "`")
        allowed = _values(each, (choices or {}).get(each.name))
        lines.append(f"| `--{each.name}` | {shown} | {allowed} | {text} |")
    return "\n".join(lines[1:]) + "\n"


def _values(each: Declared, choices: Sequence[str] | None) -> str:
    """Describes the allowed values of a flag, for the table."""
    if issubclass(each.type, enum.Enum):
        choices = [member.value for member in each.type]
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    if each.type is bool:
        return f"`--{each.name}`, `--no{each.name}`"
    words = {int: "a whole number", float: "a number"}
    limits = str(each.option.bounds) if each.type in words else ""
    return " ".join(
        [words.get(each.type, "text"), limits.replace("finite", "")]
    ).strip()
