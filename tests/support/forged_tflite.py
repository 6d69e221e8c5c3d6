"""`.tflite` files that were edited: their numbers, their bytes."""

import random

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

_ODD = (-(2**31), -1, 0, 1, 2, 7, 1000, 65536, 2**20, 2**31 - 1)


def edited(content: bytes, seed: int) -> bytes:
    """`content` with one or two shapes, types, buffers or operators changed."""
    draw = random.Random(seed)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    graph = model.subgraphs[0]
    for _ in range(draw.choice([1, 2])):
        _change(model, graph, draw)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _change(model, graph, draw: random.Random) -> None:
    kind, tensor = draw.randrange(6), draw.choice(graph.tensors)
    operator, count = draw.choice(graph.operators), len(graph.tensors)
    if kind == 0 and tensor.shape is not None and len(tensor.shape):
        tensor.shape = list(tensor.shape)
        tensor.shape[draw.randrange(len(tensor.shape))] = draw.choice(_ODD)
    elif kind == 1:
        tensor.type = draw.randrange(20)
    elif kind == 2:
        operator.inputs = list(operator.inputs)
        place = draw.randrange(len(operator.inputs))
        operator.inputs[place] = draw.randrange(-1, count)
    elif kind == 3:
        operator.outputs = [draw.randrange(count), *list(operator.outputs)[1:]]
    elif kind == 4:
        tensor.buffer = draw.randrange(len(model.buffers))
    else:
        code = model.operatorCodes[0]
        code.builtinCode = draw.randrange(200)
        code.deprecatedBuiltinCode = min(127, code.builtinCode)


def flipped(content: bytes, seed: int) -> bytes:
    """`content` with 1 to 16 bytes changed."""
    draw, changed = random.Random(seed), bytearray(content)
    for _ in range(draw.choice([1, 4, 16])):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)
