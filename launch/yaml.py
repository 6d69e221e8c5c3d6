"""Plain data as YAML text, for manifests that people read and change.

>>> print(dump({"name": "a", "on": [1, "1", True, "yes"]}), end="")
name: a
"on":
- 1
- "1"
- true
- "yes"
"""

import json
import re

# YAML 1.1 reads many words as something else; what is not plainly a word is quoted.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*(?::[A-Za-z0-9_./-]+)*")
_NOT_WORDS = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}


def dump(value: object) -> str:
    """Dictionaries, lists, texts, numbers and booleans, in their order."""
    return "".join(f"{line}\n" for line in _lines(value))


def dump_all(documents: list[dict]) -> str:
    """Several documents in one text."""
    return "---\n".join(dump(document) for document in documents)


def _lines(value: object) -> list[str]:
    if isinstance(value, dict) and value:
        return [line for key, item in value.items() for line in _entry(key, item)]
    if isinstance(value, list) and value:
        return [line for item in value for line in _item(item)]
    return [_scalar(value)]


def _entry(key: str, value: object) -> list[str]:
    lines = _lines(value)
    if isinstance(value, dict) and value:
        return [f"{_scalar(key)}:", *(f"  {line}" for line in lines)]
    if isinstance(value, list) and value:
        return [f"{_scalar(key)}:", *lines]
    return [f"{_scalar(key)}: {lines[0]}"]


def _item(value: object) -> list[str]:
    first, *rest = _lines(value)
    return [f"- {first}", *(f"  {line}" for line in rest)]


def _scalar(value: object) -> str:
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _NOT_WORDS
        return value if plain else _quoted(value)
    return json.dumps(value)


def _quoted(text: str) -> str:
    """JSON's escapes are YAML's; YAML wants all that cannot be printed escaped."""
    return "".join(
        char if char.isprintable() else f"\\U{ord(char):08x}"
        for char in json.dumps(text, ensure_ascii=False)
    )
