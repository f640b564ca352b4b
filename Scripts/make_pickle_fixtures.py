"""Writes Tests/Fixtures/WeightSync/*.pickle: tensors as Python's trainers send them (torch 2.11.0)."""

import io
import pathlib
import pickle
import sys
import types
from multiprocessing.reduction import ForkingPickler

import torch
import torch.multiprocessing.reductions  # registers how tensors are shared

folder = pathlib.Path(__file__).parent.parent / "Tests/Fixtures/WeightSync"
folder.mkdir(parents=True, exist_ok=True)
rows = torch.arange(6, dtype=torch.float32).reshape(2, 3)
weights = [
    ("rows", rows), ("transposed", rows.t()), ("slice", rows[1, 1:]), ("repeated", torch.zeros(1).expand(4)),
    ("half", torch.tensor([1, -2], dtype=torch.bfloat16)), ("empty", torch.zeros(0, 3)),
    ("parameter", torch.nn.Parameter(torch.tensor([7.0]))),
]
for protocol in [2, 4, 5]:
    (folder / f"protocol{protocol}.pickle").write_bytes(pickle.dumps(weights, protocol))

module = types.ModuleType("sglang.srt.weight_sync.tensor_bucket")


class FlattenedTensorMetadata:
    def __init__(self, **fields):
        self.__dict__ = fields


FlattenedTensorMetadata.__module__ = module.__name__
FlattenedTensorMetadata.__qualname__ = "FlattenedTensorMetadata"
module.FlattenedTensorMetadata = FlattenedTensorMetadata
for parent in ["sglang", "sglang.srt", "sglang.srt.weight_sync"]:
    sys.modules[parent] = types.ModuleType(parent)
sys.modules[module.__name__] = module
metadata, start = [], 0
plain = [weights[0], weights[4]]
for name, tensor in plain:
    end = start + tensor.numel() * tensor.element_size()
    metadata.append(FlattenedTensorMetadata(
        name=name, shape=tensor.shape, dtype=tensor.dtype, start_idx=start, end_idx=end, numel=tensor.numel()))
    start = end
flat = torch.cat([tensor.flatten().view(torch.uint8) for _, tensor in plain])
(folder / "flattened.pickle").write_bytes(pickle.dumps({"flattened_tensor": flat, "metadata": metadata}, 4))

for strategy, name in [("file_system", "shared"), ("file_descriptor", "descriptor")]:
    torch.multiprocessing.set_sharing_strategy(strategy)
    buffer = io.BytesIO()
    ForkingPickler(buffer).dump([("rows", rows.clone())])
    (folder / f"{name}.pickle").write_bytes(buffer.getvalue())


class CUDATensor:
    """As torch.multiprocessing.reductions.reduce_tensor describes a tensor on a GPU."""

    def __reduce__(self):
        return torch.multiprocessing.reductions.rebuild_cuda_tensor, (
            torch.Tensor, (2, 3), (3, 1), 0, torch.UntypedStorage, torch.float32, "GPU-uuid", b"h" * 64, 24, 0, False,
            b"r" * 64, 0, b"e" * 64, True)


(folder / "cuda.pickle").write_bytes(pickle.dumps([("rows", CUDATensor())], 4))
