"""Reads a distributed checkpoint with PyTorch alone, in the ways that PyTorch has, and says what is in it.

    python3 Scripts/check_torch_dist.py FOLDER

Loads every tensor with torch.distributed.checkpoint.load into a plain dictionary, and the whole folder with
format_utils.dcp_to_torch_save; both must give the same. Prints a line for each item: name, type, shape and CRC-32 of a
tensor's bytes, or an object's value. Reads common.pt and metadata.json where they are there.
"""

import json
import pathlib
import sys
import tempfile
import warnings
import zlib

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.checkpoint.metadata import BytesStorageMetadata


def data(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def flattened(value, path=()):
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from flattened(item, (*path, key))
    else:
        yield path, value


def main(folder):
    warnings.filterwarnings("ignore")
    metadata = dcp.FileSystemReader(folder).read_metadata()
    items = metadata.state_dict_metadata
    state = {}
    for name, item in items.items():
        is_object = isinstance(item, BytesStorageMetadata)
        state[name] = None if is_object else torch.full(item.size, 1).to(item.properties.dtype)
    dcp.load(state, checkpoint_id=folder, no_dist=True)
    with tempfile.TemporaryDirectory() as temporary:
        path = pathlib.Path(temporary) / "all.pt"
        dcp_to_torch_save(folder, path)
        whole = torch.load(path, weights_only=False)
    paths = metadata.planner_data or {}
    failures = 0
    for name, item in items.items():
        found = whole
        for key in paths.get(name, (name,)):
            found = found[key]
        if isinstance(item, BytesStorageMetadata):
            same = repr(found) == repr(state[name])
            print(json.dumps({"name": name, "object": repr(state[name])}))
        else:
            same = found.dtype == state[name].dtype and found.shape == state[name].shape and data(found) == data(state[name])
            print(json.dumps({
                "name": name, "dtype": str(found.dtype).removeprefix("torch."), "shape": list(found.shape),
                "shards": len(item.chunks), "crc32": zlib.crc32(data(found))}))
        if not same:
            failures += 1
            print(f"dcp.load and dcp_to_torch_save disagree about {name}", file=sys.stderr)
    for name, read in [("metadata.json", lambda path: json.loads(path.read_text())),
                       ("common.pt", lambda path: torch.load(path, weights_only=False))]:
        path = pathlib.Path(folder) / name
        if path.exists():
            print(json.dumps({"file": name, "value": repr(read(path))}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
