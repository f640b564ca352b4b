"""Writes Tests/Fixtures/torch_dist/: distributed checkpoints, torch.save files and pickles as PyTorch and Python write them.

Needs torch 2.11, 5 GB of memory and as much of disk for a moment. Run from anywhere: python3 Scripts/make_torch_dist_fixtures.py

  single/       a checkpoint saved by one process: every type, odd shapes and layouts, objects, a nested dictionary
  ranks/        a checkpoint saved by four processes: shards in one and two dimensions, uneven ones, replicas, objects
  views/        a checkpoint put together by hand, of tensors that are views: offsets, strides, shared storages, a parameter
  metadata/     other layouts of single's .metadata: oldest (PyTorch 2.0), of Megatron-Core, damaged on purpose
  common.pt     what Megatron-Core keeps in a file of this name
  archives.json torch.save archives with any number of storages: length and CRC-32
  zip64.json    what stands around the data in an archive of more than 4 GiB
  pickles.json  values, and their pickles in each protocol; pickles that must be refused
  large.json    length and CRC-32 of a checkpoint with 2300 tensors

Byte k of a tensor (row-major) is crc32(name) + 7 k modulo 256, of a boolean one that modulo 2.
"""

import argparse
import base64
import io
import json
import math
import os
import pathlib
import pickle
import random
import shutil
import struct
import sys
import tempfile
import types
import zlib

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as multiprocessing
from torch.distributed._shard.sharded_tensor.metadata import TensorProperties as OldTensorProperties
from torch.distributed.checkpoint import metadata as dcp_metadata
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

ROOT = pathlib.Path(__file__).resolve().parent.parent / "Tests/Fixtures/torch_dist"
TYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2, torch.float8_e4m3fn, torch.int64,
    torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]


def filled(name, dtype, shape):
    count = math.prod(shape) * dtype.itemsize
    data = (zlib.crc32(name.encode()) + 7 * torch.arange(count)) % 256
    if dtype == torch.bool:
        return (data % 2 == 1).reshape(shape)
    return data.to(torch.uint8).view(dtype).reshape(shape)


def save(folder, state, **options):
    """Into a folder of the working directory, so that no absolute path gets into the file."""
    writer = dcp.FileSystemWriter(folder)
    writer.save_id = "01234567-89ab-cdef-0123-456789abcdef"
    dcp.save(state, storage_writer=writer, **options)


# MARK: One process

def single_state():
    state = {f"type.{str(dtype).removeprefix('torch.')}": dtype for dtype in TYPES}
    state = {name: filled(name, dtype, (2, 3)) for name, dtype in state.items()}
    state["scalar"] = filled("scalar", torch.float32, ())
    state["empty.rows"] = filled("empty.rows", torch.float32, (0, 3))
    state["empty.columns"] = filled("empty.columns", torch.bfloat16, (2, 0))
    state["four"] = filled("four", torch.int16, (2, 3, 4, 5))
    # The whole storage, but not in order: PyTorch saves it with its strides.
    state["transposed"] = filled("transposed", torch.float32, (3, 4)).t().contiguous().t()
    state["permuted"] = filled("permuted", torch.int8, (2, 3, 4)).permute(2, 0, 1).contiguous().permute(1, 2, 0)
    # A part of a storage: PyTorch saves a copy.
    wide = torch.zeros(3, 8)
    wide[:, 2:5] = filled("part", torch.float32, (3, 3))
    state["part"] = wide[:, 2:5]
    state["name with \u00e9 and /"] = filled("name with \u00e9 and /", torch.uint8, (300,))
    state["step"] = 7
    state["text"] = "caf\u00e9"
    state["nested"] = {
        "weights": {"w": filled("nested.weights.w", torch.float64, (2, 2))},
        "list": [1, filled("nested.list.1", torch.int32, (3,))],
        "options": {},
    }
    state["mixed"] = {"plain": (1, 2.5, None, True, "x"), "seed": 2**64 - 1}
    return state


def make_single():
    shutil.rmtree(ROOT / "single", ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        save("single", single_state(), no_dist=True)
        os.chdir(ROOT)
        shutil.copytree(pathlib.Path(folder) / "single", ROOT / "single")


# MARK: Four processes

def run_rank(rank, folder):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.chdir(folder)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=4)
    line = init_device_mesh("cpu", (4,))
    square = init_device_mesh("cpu", (2, 2))

    def sharded(name, dtype, shape, mesh, placements):
        whole = filled(name, dtype, shape)
        sizes, offsets = compute_local_shape_and_global_offset(torch.Size(shape), mesh, placements)
        local = whole
        for d, (size, offset) in enumerate(zip(sizes, offsets)):
            local = local.narrow(d, offset, size)
        return DTensor.from_local(local.contiguous(), mesh, placements, run_check=False, shape=whole.shape, stride=whole.stride())

    state = {
        "rows": sharded("rows", torch.bfloat16, (6, 4), line, [Shard(0)]),
        "columns": sharded("columns", torch.float32, (3, 8), line, [Shard(1)]),
        "grid": sharded("grid", torch.int16, (4, 6), square, [Shard(0), Shard(1)]),
        "uneven": sharded("uneven", torch.float8_e4m3fn, (7,), line, [Shard(0)]),
        "replicas.of.rows": sharded("replicas.of.rows", torch.float16, (5, 2), square, [Replicate(), Shard(0)]),
        "replicated": filled("replicated", torch.int64, (2, 2)),
        "also.replicated": filled("also.replicated", torch.bool, (9,)),
        "step": torch.tensor(3.0),
        "epoch": 3,
        f"random.{rank}": {"state": filled(f"random.{rank}.state", torch.uint8, (16,)), "seed": 2**63 + rank},
    }
    save("ranks", state)
    dist.destroy_process_group()


def make_ranks():
    shutil.rmtree(ROOT / "ranks", ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(run_rank, (folder,), nprocs=4)
        shutil.copytree(pathlib.Path(folder) / "ranks", ROOT / "ranks")


# MARK: Other layouts of the metadata

class System:
    def __reduce__(self):
        return os.system, ("true",)


def write_metadata(name, metadata, protocol=4):
    (ROOT / "metadata" / name).write_bytes(pickle.dumps(metadata, protocol))


def read_metadata():
    return pickle.loads((ROOT / "single/.metadata").read_bytes())


def make_metadata():
    (ROOT / "metadata").mkdir(exist_ok=True)

    # PyTorch 2.0 to 2.2: properties of another module; no storage_meta, no version.
    old = read_metadata()
    for item in old.state_dict_metadata.values():
        if isinstance(item, dcp_metadata.TensorStorageMetadata):
            item.properties = OldTensorProperties(dtype=item.properties.dtype)
    del old.__dict__["storage_meta"], old.__dict__["version"]
    write_metadata("oldest", old, 2)

    # Megatron-Core: a class of its own, no paths, and the plans of all ranks for the next save.
    megatron = types.ModuleType("megatron.core.dist_checkpointing.strategies.torch")
    megatron.MCoreMetadata = type(
        "MCoreMetadata", (dcp_metadata.Metadata,), {"__module__": megatron.__name__})
    for k in range(1, 5):
        sys.modules[".".join(megatron.__name__.split(".")[:k])] = types.ModuleType("")
    sys.modules[megatron.__name__] = megatron
    plain = read_metadata()
    core = megatron.MCoreMetadata(plain.state_dict_metadata, None, plain.storage_data, plain.storage_meta)
    core.mcore_data = {}
    planner = dcp.DefaultSavePlanner(flatten_state_dict=False)
    planner.set_up_planner({"x": torch.zeros(2)}, is_coordinator=True)
    core.all_local_plans = [planner.create_local_plan()]
    write_metadata("megatron", core)

    def damaged(name, change):
        metadata = read_metadata()
        change(metadata)
        write_metadata(name, metadata)

    def chunk(metadata, name):
        return metadata.state_dict_metadata[name].chunks[0]

    def location(metadata, name):
        return next(info for index, info in metadata.storage_data.items() if index.fqn == name)

    def replace(name, **changes):
        def change(metadata):
            for key, value in changes.items():
                setattr(location(metadata, name), key, value)
        return change

    def remove(metadata):
        index = next(index for index in metadata.storage_data if index.fqn == "four")
        del metadata.storage_data[index]

    def shrink(metadata):
        chunk(metadata, "four").sizes = torch.Size([2, 3, 4, 4])

    def move(metadata):
        chunk(metadata, "four").sizes = torch.Size([2, 3, 4, 6])

    def retype(metadata):
        metadata.state_dict_metadata["four"].properties.dtype = torch.float32

    def unsupported(metadata):
        metadata.state_dict_metadata["four"].properties.dtype = torch.complex64

    def twice(metadata):
        entry = metadata.state_dict_metadata["four"]
        entry.chunks.append(dcp_metadata.ChunkStorageMetadata(torch.Size([1, 0, 0, 0]), torch.Size([1, 3, 4, 5])))
        metadata.storage_data[dcp_metadata.MetadataIndex("four", [1, 0, 0, 0], 1)] = location(metadata, "four")

    damaged("no-place", remove)
    damaged("outside-shape", move)
    damaged("hole", shrink)
    damaged("other-type", retype)
    damaged("no-such-type", unsupported)
    damaged("overlap", twice)
    damaged("outside-folder", replace("four", relative_path="../single/__0_0.distcp"))
    damaged("missing-file", replace("four", relative_path="__1_0.distcp"))
    damaged("beyond-file", replace("four", offset=10**6))
    damaged("elsewhere", replace("four", offset=location(read_metadata(), "scalar").offset,
                                 length=location(read_metadata(), "scalar").length))
    damaged("compressed", replace("four", transform_descriptors=["stream.zstd"]))
    write_metadata("code", {"state_dict_metadata": System()})
    write_metadata("no-metadata", [1, 2])


# MARK: Views

def make_views():
    """What other writers than PyTorch's own may save: it copies a view first."""
    shutil.rmtree(ROOT / "views", ignore_errors=True)
    (ROOT / "views").mkdir()
    base = filled("base", torch.int32, (4, 5, 6))
    views = {
        "base": base, "last": base[3], "column": base[:, 2, 3], "steps": base[1::2, ::3, 1:6:2],
        "permuted": base[1:3].permute(2, 0, 1), "expanded": base[2, 1:2].expand(3, 6),
        "parameter": torch.nn.Parameter(base.to(torch.float32)[1, 2:4]), "scalar": base[3, 4, 5], "none": base[2:2],
        "float8": filled("float8", torch.float8_e5m2, (6,))[2:5],
    }
    metadata = dcp_metadata.Metadata({}, storage_data={})
    data = b""
    for name, view in views.items():
        stream = io.BytesIO()
        torch.save(view, stream)
        chunk = dcp_metadata.ChunkStorageMetadata(torch.Size([0] * view.dim()), view.shape)
        metadata.state_dict_metadata[name] = dcp_metadata.TensorStorageMetadata(
            dcp_metadata.TensorProperties(dtype=view.dtype), view.shape, [chunk])
        metadata.storage_data[dcp_metadata.MetadataIndex(name, chunk.offsets, 0)] = _StorageInfo(
            "tensors/all.distcp", len(data), len(stream.getvalue()))
        data += stream.getvalue()
    (ROOT / "views/tensors").mkdir()
    (ROOT / "views/tensors/all.distcp").write_bytes(data)
    (ROOT / "views/.metadata").write_bytes(pickle.dumps(metadata))
    torch.save(views, ROOT / "views/all.pt")


# MARK: torch.save

def common():
    return {
        "args": argparse.Namespace(
            num_layers=2, hidden_size=64, lr=1e-6, load=None, bf16=True, params_dtype=torch.bfloat16, betas=(0.9, 0.98),
            data_path=["a", "b"]),
        "checkpoint_version": 3.0,
        "iteration": 100,
        "num_floating_point_operations_so_far": 15 * 10**17,
        "seed": 2**64 - 1,
        "negative": [-1, -128, -129, -32769, -2**31, -2**31 - 1, -2**63, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**63 - 1],
        "opt_param_scheduler": {"max_lr": 1e-6, "lr_decay_style": "constant", "num_steps": 12800, "ratio": math.inf},
        "rng": torch.arange(20, dtype=torch.uint8),
        "scalars": [torch.tensor(1.5), torch.tensor(True), torch.tensor([[1, 2], [3, 4]], dtype=torch.int32)],
        "types": [filled(str(dtype), dtype, (2,)) for dtype in TYPES],
        "bytes": b"\x00\xff\x80",
        "empty": {"tuple": (), "list": [], "dict": {}, "str": "", "bytes": b"", "tensor": torch.zeros(0, 2)},
        "one": {"list": [1], "set": {1}, "dict": {2: 3}},
        "text": "caf\u00e9 \U0001F600" + "x" * 300,
    }


def make_torch_files():
    with tempfile.TemporaryDirectory() as folder:
        torch.save(common(), pathlib.Path(folder) / "common.pt")
        shutil.copy(pathlib.Path(folder) / "common.pt", ROOT / "common.pt")
    archives = []
    for count in [0, 1, 2, 6, 7, 8, 9, 12, 30, 60, 200]:
        stream = io.BytesIO()
        torch.save([torch.tensor([i], dtype=torch.uint8) for i in range(count)], stream)
        archives.append({"tensors": count, "length": len(stream.getvalue()), "crc32": zlib.crc32(stream.getvalue())})
    (ROOT / "archives.json").write_text(json.dumps(archives) + "\n")


def make_zip64():
    size = 2**32 + 5
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "big.pt"
        torch.save([torch.zeros(size, dtype=torch.uint8), torch.ones(3)], path)
        with open(path, "rb") as file:
            head = file.read(2048)
            begin = head.index(b"Z" * 4, head.index(b"big/data/0"))
            while head[begin:begin + 1] == b"Z":
                begin += 1
            file.seek(begin + size)
            tail = file.read()
    (ROOT / "zip64.json").write_text(json.dumps(
        {"size": size, "crc32": struct.unpack("<I", tail[4:8])[0], "head": head[:begin].hex(), "tail": tail.hex()}, indent=1) + "\n")


# MARK: Pickles

POOL = ["a", "weight", "model.layers.0", "caf\u00e9", "", "x" * 255, "y" * 256, "\U0001F600"]


def random_value(generator, depth):
    kinds = ["none", "bool", "int", "float", "str", "bytes"] + (["list", "tuple", "dict"] * 3 if depth < 4 else [])
    kind = generator.choice(kinds)
    if kind == "none":
        return None
    if kind == "bool":
        return generator.random() < 0.5
    if kind == "int":
        return (generator.getrandbits(generator.choice([1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 62, 64, 100, 2100]))
                * generator.choice([1, -1]))
    if kind == "float":
        return generator.choice([0.0, -0.0, 1.5, math.inf, -1e300, 5e-324])
    if kind == "str":
        return generator.choice(POOL)
    if kind == "bytes":
        return generator.randbytes(generator.choice([2, 3, 2, 3, 256]))
    count = generator.choice([0, 1, 2, 3, 4, 7])
    if kind == "list":
        return [random_value(generator, depth + 1) for _ in range(count)]
    if kind == "tuple":
        return tuple(random_value(generator, depth + 1) for _ in range(count))
    return {POOL[i]: random_value(generator, depth + 1) for i in range(count)}


def described(value):
    if value is None:
        return {"none": True}
    if isinstance(value, bool):
        return {"bool": value}
    if isinstance(value, int):
        if -2**63 <= value < 2**63:
            return {"int": str(value)}
        return {"large": base64.b64encode(pickle.encode_long(value)).decode()}
    if isinstance(value, float):
        return {"float": struct.pack(">d", value).hex()}
    if isinstance(value, str):
        return {"str": value}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {"dict": [[described(k), described(v)] for k, v in value.items()]}
    return {type(value).__name__: [described(v) for v in value]}


def recipe(kind, n):
    """Large values that tests make themselves."""
    return {
        "range": lambda: list(range(n)), "map": lambda: {i: i for i in range(n)}, "text": lambda: "z" * n,
        "pairs": lambda: [[i, float(i)] for i in range(n)], "blocks": lambda: ["z" * n, b"q" * n, "end"]}[kind]()


def make_pickles():
    generator = random.Random(3)
    values = [random_value(generator, 0) for _ in range(40)] + [{1, 2, 3}, frozenset([4]), set()]
    cases = [(described(value), value) for value in values]
    recipes = [("range", n) for n in (1000, 1001, 2000)] + [("map", n) for n in (999, 1000, 1001, 2000, 2001)]
    recipes += [("text", 65535), ("text", 65536), ("blocks", 65536), ("pairs", 8000)]
    cases += [({"recipe": list(which)}, recipe(*which)) for which in recipes]
    written = []
    for text, value in cases:
        case = {"value": text}
        for protocol in range(2, 6):
            data = pickle.dumps(value, protocol)
            if protocol in (2, 4):
                case[f"sum{protocol}"] = [len(data), zlib.crc32(data)]
            # For reading; the whole bytes only where they are few.
            if len(data) < 1500:
                case[f"bytes{protocol}"] = base64.b64encode(data).decode()
        written.append(case)

    class Call:
        def __init__(self, function, arguments):
            self.call = (function, arguments)

        def __reduce__(self):
            return self.call

    refused = []
    for function, arguments in [(os.system, ("true",)), (eval, ("1",)), (torch.load, ("x",)), (__import__, ("os",))]:
        for protocol in (2, 4):
            data = pickle.dumps([1, Call(function, arguments)], protocol)
            module = {"builtins": "__builtin__"}.get(function.__module__, function.__module__) if protocol == 2 else function.__module__
            refused.append({"name": f"{module}.{function.__name__}", "bytes": base64.b64encode(data).decode()})
    (ROOT / "pickles.json").write_text(json.dumps({"cases": written, "refused": refused}) + "\n")


def make_large():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        save("large", {
            f"layers.{i}.weight": filled(f"layers.{i}.weight", torch.float32, (i % 7 + 1, 3)) for i in range(2300)}, no_dist=True)
        sums = {}
        for name in [".metadata", "__0_0.distcp"]:
            data = (pathlib.Path(folder) / "large" / name).read_bytes()
            sums[name] = {"length": len(data), "crc32": zlib.crc32(data)}
        os.chdir(ROOT)
    (ROOT / "large.json").write_text(json.dumps(sums) + "\n")


if __name__ == "__main__":
    ROOT.mkdir(parents=True, exist_ok=True)
    make_single()
    make_ranks()
    make_metadata()
    make_views()
    make_torch_files()
    make_pickles()
    make_large()
    make_zip64()
