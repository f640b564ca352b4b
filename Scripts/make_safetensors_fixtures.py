"""Writes Tests/Fixtures/safetensors/: what the Python package `safetensors`, the reference, writes and accepts.

Needs torch and safetensors. Run from the repository root: python3 Scripts/make_safetensors_fixtures.py

  every-dtype.safetensors  one tensor of each type that torch has; number k (in the file's order) of n bytes holds the
                           bytes k, k+1, ..., k+n-1 (a boolean tensor: 1, 0, 1, ...)
  odd-names.safetensors    names that need escapes, an empty tensor, a scalar, no metadata; bytes count up from 1
  verdicts.json            files (base64) and whether the reference accepts them: cases by hand, then random mutations
"""

import base64
import json
import pathlib
import random
import struct

import torch
from safetensors import deserialize
from safetensors.torch import _TYPES, save_file

ROOT = pathlib.Path("Tests/Fixtures/safetensors")


def filled(count, first, dtype, shape):
    if dtype == torch.bool:
        return (torch.arange(count) % 2 == 0).reshape(shape)
    return ((torch.arange(count) + first) % 256).to(torch.uint8).view(dtype).reshape(shape)


def every_dtype():
    order = [  # as the file has them: by alignment, then by name
        "U64", "I64", "F64", "C64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16", "F8_E5M2FNUZ", "F8_E4M3FNUZ",
        "F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"]
    tensors = {}
    for k, name in reversed(list(enumerate(order))):
        size = _TYPES[name].itemsize
        tensors[f"layer.{name}"] = filled(6 * size, k, _TYPES[name], (2, 3))
    save_file(tensors, ROOT / "every-dtype.safetensors", {"format": "pt"})


def odd_names():
    save_file({
        "b.weight": filled(12, 1, torch.float32, (3,)),
        "B.weight": filled(12, 1, torch.float32, (1, 3)),
        "quote\" back\\slash \n\t\x01\x7f \u00e9\u2028\U0001F600": filled(8, 1, torch.int64, (1,)),
        "empty": torch.zeros(4, 0),
        "scalar": filled(4, 1, torch.float32, ()),
        "": filled(2, 1, torch.float16, (1,)),
        "mask": filled(3, 1, torch.bool, (3,)),
    }, ROOT / "odd-names.safetensors")


def with_header(header, data):
    header = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(header)) + header + data


def entry(name, dtype="F32", shape="[1]", offsets="[0,4]", more=""):
    return f'"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}{more}}}'


def cases_by_hand():
    data = b"0000"
    good = entry("a")
    yield "good", with_header("{" + good + "}", data)
    yield "spaces", with_header(" {" + good + "}  ", data)
    yield "no bytes", b""
    yield "seven bytes", b"\0" * 7
    yield "length 0", struct.pack("<Q", 0)
    yield "huge length", struct.pack("<Q", 2**63 + 5) + b"{}"
    yield "length beyond file", struct.pack("<Q", 100) + b"{}"
    yield "no tensors", with_header("{}", b"")
    yield "no tensors, data", with_header("{}", data)
    yield "array", with_header("[]", b"")
    yield "metadata only", with_header('{"__metadata__":{"a":"b"}}', b"")
    yield "metadata null", with_header('{"__metadata__":null}', b"")
    yield "metadata number", with_header('{"__metadata__":{"a":1}}', b"")
    yield "metadata array", with_header('{"__metadata__":[]}', b"")
    yield "hole in front", with_header("{" + entry("a", offsets="[4,8]") + "}", data * 2)
    yield "hole between", with_header("{" + good + "," + entry("b", offsets="[8,12]") + "}", data * 3)
    yield "overlap", with_header("{" + good + "," + entry("b") + "}", data)
    yield "half overlap", with_header("{" + good + "," + entry("b", offsets="[2,6]") + "}", data + b"00")
    yield "data after", with_header("{" + good + "}", data + b"0")
    yield "truncated data", with_header("{" + good + "}", data[:3])
    yield "reversed offsets", with_header("{" + entry("a", offsets="[4,0]") + "}", data)
    yield "unsorted", with_header("{" + entry("b", offsets="[4,8]") + "," + good + "}", data * 2)
    yield "three offsets", with_header("{" + entry("a", offsets="[0,4,4]") + "}", data)
    yield "negative size", with_header("{" + entry("a", shape="[-1]") + "}", data)
    yield "fractional size", with_header("{" + entry("a", shape="[1.0]") + "}", data)
    yield "size as text", with_header("{" + entry("a", shape='["1"]') + "}", data)
    yield "size too large", with_header("{" + entry("a", shape="[9223372036854775807,4]") + "}", data)
    yield "size beyond 64 bits", with_header("{" + entry("a", shape="[18446744073709551616]") + "}", data)
    yield "wrong size", with_header("{" + entry("a", shape="[2]") + "}", data)
    yield "scalar", with_header("{" + entry("a", shape="[]") + "}", data)
    yield "empty tensors", with_header(
        "{" + entry("z", shape="[0]", offsets="[0,0]") + "," + good + "," + entry("y", shape="[3,0]", offsets="[4,4]")
        + "}", data)
    yield "empty tensor in the middle", with_header(
        "{" + entry("z", shape="[0]", offsets="[2,2]") + "," + good + "}", data)
    yield "unknown dtype", with_header("{" + entry("a", dtype="F31") + "}", data)
    yield "lower-case dtype", with_header("{" + entry("a", dtype="f32") + "}", data)
    yield "F4", with_header("{" + entry("a", dtype="F4", shape="[8]") + "}", data)
    yield "F4, half a byte", with_header("{" + entry("a", dtype="F4", shape="[7]") + "}", data)
    yield "F8_E8M0", with_header("{" + entry("a", dtype="F8_E8M0", shape="[4]") + "}", data)
    yield "no shape", with_header('{"a":{"dtype":"F32","data_offsets":[0,4]}}', data)
    yield "no dtype", with_header('{"a":{"shape":[1],"data_offsets":[0,4]}}', data)
    yield "no offsets", with_header('{"a":{"dtype":"F32","shape":[1]}}', data)
    yield "number for a tensor", with_header('{"a":1}', data)
    yield "more keys", with_header("{" + entry("a", more=',"x":1') + "}", data)
    yield "not aligned", with_header(
        "{" + entry("u", dtype="U8", offsets="[0,1]") + "," + entry("a", offsets="[1,5]") + "}", data + b"0")
    yield "not UTF-8", with_header(b'{"\xff":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', data)
    yield "NaN", with_header("{" + entry("a", shape="[NaN]") + "}", data)
    yield "deep", with_header("[" * 3000, b"")


def mutations(generator, count):
    seed = with_header(
        '{"__metadata__":{"format":"pt"},' + entry("a", shape="[2,3]", offsets="[0,24]") + ","
        + entry("b", dtype="BF16", shape="[5]", offsets="[24,34]") + "}", bytes(34))
    alphabet = b'{}[]",:0123456789 -.eaFBU\\\x00\xff'
    for _ in range(count):
        data = bytearray(seed)
        for _ in range(generator.choice([1, 1, 1, 2, 3])):
            place = generator.randrange(len(data) - 20)
            kind = generator.randrange(4)
            if kind == 0:
                data[place] = generator.choice(alphabet)
            elif kind == 1:
                del data[place]
                data[:8] = struct.pack("<Q", max(0, struct.unpack("<Q", data[:8])[0] - 1))
            elif kind == 2:
                data.insert(max(8, place), generator.choice(alphabet))
                data[:8] = struct.pack("<Q", (struct.unpack("<Q", data[:8])[0] + 1) % 2**64)
            else:
                data[place] ^= 1 << generator.randrange(8)
        yield "mutation", bytes(data)


def accepts(data):
    try:
        deserialize(data)
        return True
    except Exception:
        return False


if __name__ == "__main__":
    ROOT.mkdir(parents=True, exist_ok=True)
    every_dtype()
    odd_names()
    cases = list(cases_by_hand()) + list(mutations(random.Random(1), 500))
    verdicts = [[name, base64.b64encode(data).decode(), accepts(data)] for name, data in cases]
    (ROOT / "verdicts.json").write_text("[\n" + ",\n".join(json.dumps(verdict) for verdict in verdicts) + "\n]\n")
    print(f"{len(cases)} cases, {sum(v[2] for v in verdicts)} accepted")
