"""Folders as strangers have them: no traceback, whatever lies in them.

Formats, damage, splits, imbalance, names and sizes are drawn from a seed. What is
refused is named, and what is accepted has the pixels that Pillow gives.
"""

import collections
import os
import pathlib
import random
import struct
import zlib

import pytest

from tests.support.odd_images import KINDS, SUFFIX, encode_image
from trainer.config.enums import Resize
from trainer.data import preprocessing
from trainer.data.preprocessing import UnreadableImage
from trainer.data.store import store
from trainer.data.store.request import FilesRequest
from trainer.errors import InvalidInput

NAMES = ["cat", "Hund", "猫", "čaj 🍵", "a b", "x,y", "-rf", "ñ", "0", "Cat", "train"]
LAYOUTS = [("",), ("",), ("",), ("train", "test"), ("train", "val", "test")]


def bomb(width: int, height: int) -> bytes:
    """A small PNG file whose header promises very many pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = (
        chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


def damaged(content: bytes, generator: random.Random) -> bytes:
    changed = bytearray(content)
    match generator.randrange(5):
        case 0:
            return content[: generator.randrange(len(content))]
        case 1:
            return b""
        case 2:
            for _ in range(generator.randint(1, 30)):
                changed[generator.randrange(len(changed))] = generator.randrange(256)
            return bytes(changed)
        case 3:
            return bomb(60_000, 60_000)
        case _:
            return b"<html>not found</html>"


def write_folder(root: pathlib.Path, generator: random.Random) -> None:
    layout = generator.choice(LAYOUTS)
    classes = generator.sample(NAMES, generator.choice([1, 2, 2, 2, 2, 2, 3, 3]))
    one_size = generator.random() < 0.3
    size = (generator.randint(1, 40), generator.randint(1, 40))
    damage = generator.choice([0, 0, 0.05, 0.5])
    for split in layout:
        for name in classes:
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(generator.choice([0, 1, 3, 8, 12, 12, 30])):
                if not one_size:
                    size = (generator.randint(1, 60), generator.randint(1, 60))
                write_file(folder, f"{number}", size, damage, generator)
            write_others(root, folder, generator)


def write_file(
    folder: pathlib.Path,
    stem: str,
    size: tuple[int, int],
    damage: float,
    generator: random.Random,
) -> None:
    kind = generator.choice(list(KINDS))
    orientation = generator.choice([None, *range(9)])
    content = encode_image(kind, size, generator.randrange(4), orientation)
    if generator.random() < damage:
        content = damaged(content, generator)
    suffix = SUFFIX[KINDS[kind][0]]
    if generator.random() < 0.05:  # as programs name what they do not look into
        suffix = generator.choice([".jpg", ".PNG", ".jpeg"])
    (folder / f"{stem}{suffix}").write_bytes(content)


def write_others(
    root: pathlib.Path, folder: pathlib.Path, generator: random.Random
) -> None:
    match generator.randrange(12):
        case 0:
            (folder / ".DS_Store").write_bytes(b"x")
        case 1:
            (folder / "notes.txt").write_text("x")
        case 2:
            (folder / "loop").symlink_to(root)
        case 3:
            (folder / "gone.png").symlink_to("nowhere")
        case 4:
            (folder / "folder.jpg").mkdir()
        case 5:
            os.mkfifo(folder / "pipe.jpg")
        case 6:
            with open(os.fsencode(folder) + b"/\xff.png", "wb") as file:
                file.write(b"x")
        case 7:
            (folder / "deep" / "er").mkdir(parents=True)
            write_file(folder / "deep" / "er", "x", (5, 5), 0, generator)


def reason(path: pathlib.Path, spec: preprocessing.PixelSpec) -> str | None:
    """Why Pillow gives no pixels of a file; None if it does."""
    if not path.is_file():
        return "no file"
    try:
        preprocessing.decode(path, spec)
    except UnreadableImage as error:
        return str(error)
    return None


def try_folder(tmp_path: pathlib.Path, seed: int) -> str:
    """Prepares folder number `seed`; returns what became of it."""
    generator = random.Random(seed)
    root = tmp_path / f"images{seed}"
    root.mkdir()
    write_folder(root, generator)
    request = FilesRequest(
        image_dir=str(root),
        data_dir=str(tmp_path / "data"),
        image_size=generator.choice([None, (8, 8), (8, 8), (12, 7)]),
        resize=generator.choice(list(Resize)),
        channels=generator.choice([None, None, 1, 3]),
        test_fraction=generator.choice([0.1, 0.1, 0.3]),
        skip_unreadable=generator.random() < 0.5,
    )
    try:
        found = store.open_store(request, say=lambda line: None)
    except InvalidInput as error:
        check_refusal(str(error), root)
        return "refused"
    check_store(found, root)
    return "accepted"


def check_refusal(message: str, root: pathlib.Path) -> None:
    assert 0 < message.count("\n") + 1 <= 2, message
    assert str(root) in message
    if "files cannot be read:" in message:
        assert "(" in message.partition("cannot be read: ")[2]


def check_store(found: store.StoredImages, root: pathlib.Path) -> None:
    spec, seen = found.preprocessing, collections.Counter()
    for which in ("train", "test"):
        split = found.load(which)
        assert len(split.labels) > 0
        seen.update(split.ids)
        for pixels, label, name in zip(
            split.images, split.labels, split.ids, strict=True
        ):
            assert (preprocessing.decode(root / name, spec) == pixels).all()
            assert split.names[label] in name.split("/")
    assert not seen or max(seen.values()) == 1
    for name, why in found.skipped:
        assert name not in seen
        assert "UTF-8" in why or reason(root / name, spec), (name, why)
    assert list(store.verify(found.manifest.folder)) == []


def try_folders(tmp_path: pathlib.Path, seeds: range) -> None:
    ended = collections.Counter(try_folder(tmp_path, seed) for seed in seeds)
    print(dict(ended))
    assert ended["accepted"] >= len(seeds) // 5
    assert ended["refused"] >= len(seeds) // 5


def test_thirty_odd_folders(tmp_path):
    try_folders(tmp_path, range(30))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_thousand_odd_folders(tmp_path):
    try_folders(tmp_path, range(1000, 2000))
