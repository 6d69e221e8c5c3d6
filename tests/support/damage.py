"""What can happen to a file."""


def flip_a_bit(path, generator):
    content = bytearray(path.read_bytes())
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    path.write_bytes(content)


def truncate(path, generator):
    content = path.read_bytes()
    path.write_bytes(content[: generator.randrange(len(content))])


def empty(path, _generator):
    path.write_bytes(b"")


def remove(path, _generator):
    path.unlink()


def replace_by_a_folder(path, _generator):
    path.unlink()
    path.mkdir()


DAMAGES = [flip_a_bit, truncate, empty, remove, replace_by_a_folder]
