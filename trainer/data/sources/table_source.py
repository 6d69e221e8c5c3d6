"""Lists the image files of a table: CSV or JSON Lines."""

import csv
import io
import os
from collections.abc import Iterator

from trainer import files
from trainer.data.sources.image_files import (
    SPLITS,
    TEST,
    TRAIN,
    ImageFile,
    Listing,
    find_problems,
    look_at,
    sort_classes,
)
from trainer.data.split import IMAGE_LIST
from trainer.errors import InvalidInput, first_line
from trainer.monitoring.printable import shortened

MAX_BYTES = 4 << 30  # of a table
KEYS = ("path", "label", "split")
Row = dict[str, str]


def list_table(path: str, *, test: bool = True) -> Listing:
    """Lists the image files that the table `path` names, in its order.

    A CSV file has the columns path, label and perhaps split; JSON Lines have an object
    with these keys a line. Paths are relative to the folder of the table. Without
    `test` the images of that split are not looked at.

    Raises:
        InvalidInput: it cannot be read, a value is missing, or an image is named twice.
    """
    where = f"image_list={path}"
    rows = dict(_read(path, where))
    if not rows:
        raise InvalidInput(f"{where} names no images")
    splits = _parse_splits(rows, where)
    sealed = not test and TEST in splits.values()
    if sealed:
        rows = {line: row for line, row in rows.items() if splits[line] != TEST}
    classes = sort_classes(where, (row["label"] for row in rows.values()))
    label = {name: number for number, name in enumerate(classes)}
    folder, seen, found = os.path.dirname(path), {}, []
    for line, row in rows.items():
        full = os.path.normpath(os.path.join(folder, row["path"]))
        if seen.setdefault(full, line) != line:
            raise InvalidInput(
                f"{where}: line {line} names {shortened(row['path'])} again, after "
                f"line {seen[full]}; name an image once"
            )
        found.append(look_at(full, row["path"], label[row["label"]], splits[line]))
    problems = tuple(find_problems(where, classes, found))
    files = _in_order(found)
    return Listing(IMAGE_LIST, path, files, classes, (), problems, sealed)


def _in_order(found: list[ImageFile]) -> tuple[ImageFile, ...]:
    """By split; within one as in the table."""
    ranks = {split: rank for rank, split in enumerate(SPLITS.values())}
    return tuple(sorted(found, key=lambda file: ranks[file.split]))


def _parse_splits(rows: dict[int, Row], where: str) -> dict[int, str]:
    """The split of each line; all are training images where the table names none."""
    if not any(row["split"] for row in rows.values()):
        return dict.fromkeys(rows, TRAIN)
    found = {}
    for line, row in rows.items():
        if (name := row["split"].lower()) not in SPLITS:
            raise InvalidInput(
                f"{where}: line {line} has the split {shortened(row['split'])!r}; it "
                f"must be one of {', '.join(SPLITS)}"
            )
        found[line] = SPLITS[name]
    return found


def _read(path: str, where: str) -> Iterator[tuple[int, Row]]:
    """Yields the number of each line and its values."""
    kind = os.path.splitext(path)[1].lower()
    if kind not in (".csv", ".jsonl"):
        raise InvalidInput(f"{where} must be a .csv or a .jsonl file")
    try:
        text = files.read_bytes(path, MAX_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise InvalidInput(f"{where} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{where} is not UTF-8 text: {error}") from error
    parse = _parse_csv if kind == ".csv" else _parse_json_lines
    for line, values in parse(text, where):
        row = {key: _to_text(values.get(key), key, line, where) for key in KEYS}
        for key in ("path", "label"):
            if not row[key]:
                raise InvalidInput(f"{where}: line {line} has no {key}")
        yield line, row


def _to_text(value: object, key: str, line: int, where: str) -> str:
    """A value as text; labels may be whole numbers in JSON."""
    if value is None:
        return ""
    if (
        isinstance(value, bool)
        or not isinstance(value, str | int)
        or "\0" in f"{value}"
    ):
        raise InvalidInput(
            f"{where}: line {line} has the {key} {value!r:.60}; it must be a text"
        )
    return str(value) if key == "path" else str(value).strip()


def _parse_csv(text: str, where: str) -> Iterator[tuple[int, dict[str, object]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        names = [name.strip().lower() for name in reader.fieldnames or ()]
        if not {"path", "label"} <= set(names) or len(set(names)) < len(names):
            raise InvalidInput(
                f"{where} must begin with a line that names its columns: path, label "
                f"and perhaps split; it is {shortened(','.join(names))!r}"
            )
        reader.fieldnames = names
        for values in reader:
            if None in values:
                raise InvalidInput(
                    f"{where}: line {reader.line_num} has more values than there are "
                    'columns; write a path with a comma in double quotes ("a,b.png")'
                )
            yield reader.line_num, values
    except csv.Error as error:
        raise InvalidInput(
            f"{where}: line {reader.line_num} is no CSV: {first_line(error)}"
        ) from error


def _parse_json_lines(text: str, where: str) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = files.parse_json(line.encode())
        except ValueError as error:
            raise InvalidInput(
                f"{where}: line {number} is no JSON: {first_line(error)}"
            ) from error
        if not isinstance(values, dict):
            raise InvalidInput(f"{where}: line {number} is no JSON object")
        yield number, values
