"""Updates the weights of a running `slime serve` from Python, as a trainer on torch does, and checks every number.

    slime serve --model-path FOLDER --port 30000
    python Scripts/update_weights_distributed.py FOLDER http://127.0.0.1:30000

torch 2.11.0 is rank 0 of the group, made as SGLang's `init_custom_process_group` makes it. FOLDER is the served model.
"""

import base64
import io
import json
import pickle
import socket
import struct
import sys
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.reduction import ForkingPickler

import torch
import torch.distributed as dist
import torch.multiprocessing.reductions  # registers how tensors are shared
from torch.distributed.distributed_c10d import PrefixStore, _new_process_group_helper, _world, rendezvous


@dataclass
class FlattenedTensorMetadata:
    """SGLang's, by its name."""
    name: str
    shape: torch.Size
    dtype: torch.dtype
    start_idx: int
    end_idx: int
    numel: int


FlattenedTensorMetadata.__module__ = "sglang.srt.weight_sync.tensor_bucket"
for package in ["sglang", "sglang.srt", "sglang.srt.weight_sync", FlattenedTensorMetadata.__module__]:
    sys.modules[package] = sys.modules[__name__]


def post(url, path, body, expected=200):
    request = urllib.request.Request(
        url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    assert status == expected, (path, status, text)
    return json.loads(text)


def load(folder):
    with open(folder + "/model.safetensors", "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    header.pop("__metadata__", None)
    types = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
    weights = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        flat = torch.frombuffer(bytearray(data[begin:end]), dtype=types[entry["dtype"]])
        weights[name] = flat.reshape(entry["shape"])
    return weights


def init_custom_process_group(init_method, world_size, rank, group_name, backend="gloo"):
    timeout = timedelta(seconds=60)
    store, rank, world_size = next(rendezvous(init_method, rank, world_size, timeout=timeout))
    store.set_timeout(timeout)
    group, _ = _new_process_group_helper(
        world_size, rank, [], backend, PrefixStore(group_name, store), group_name=group_name, timeout=timeout)
    _world.pg_group_ranks[group] = {i: i for i in range(world_size)}
    return group


def same(url, weights, rows=1 << 30):
    for name, tensor in weights.items():
        found = post(url, "/get_weights_by_name", {"name": name, "truncate_size": rows})
        tensor = tensor[:rows]
        assert torch.equal(torch.tensor(found), tensor.float()), name


def changed(weights, seed):
    generator = torch.Generator().manual_seed(seed)
    return {n: t + torch.randn(t.shape, generator=generator).to(t.dtype) for n, t in weights.items()}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def main():
    folder, url = sys.argv[1:3]
    weights = load(folder)
    same(url, weights)
    port = free_port()
    group_answer = {}

    def ask():
        group_answer["init"] = post(
            url, "/init_weights_update_group",
            {"master_address": "127.0.0.1", "master_port": port, "rank_offset": 1, "world_size": 2, "group_name": "g1",
             "backend": "gloo"})

    asking = threading.Thread(target=ask)
    asking.start()
    group = init_custom_process_group(f"tcp://127.0.0.1:{port}", 2, 0, "g1")
    asking.join()
    assert group_answer["init"]["success"], group_answer
    print("the group has met")

    def send(new, flattened, **more):
        body = {"names": list(new), "dtypes": [str(t.dtype).split(".")[1] for t in new.values()],
                "shapes": [list(t.shape) for t in new.values()], "group_name": "g1", **more}
        if flattened:
            body["load_format"] = "flattened_bucket"
        answer = {}
        asking = threading.Thread(target=lambda: answer.update(post(url, "/update_weights_from_distributed", body)))
        asking.start()
        if flattened:
            flat = torch.cat([t.flatten().view(torch.uint8) for t in new.values()])
            dist.broadcast(flat, src=0, group=group)
        else:
            for work in [dist.broadcast(t.contiguous(), src=0, group=group, async_op=True) for t in new.values()]:
                work.wait()
        asking.join()
        assert answer["success"], answer

    for round, flattened in enumerate([False, True]):
        new = changed(weights, round)
        send(new, flattened, weight_version=f"d{round}")
        same(url, new)
        with urllib.request.urlopen(url + "/get_weight_version") as answer:
            assert json.load(answer) == {"weight_version": f"d{round}"}
    print("broadcast tensor by tensor and as a bucket")

    new = changed(weights, 7)
    post(url, "/begin_weight_update", {})
    halves = list(new.items())
    send(dict(halves[:5]), False)
    same(url, changed(weights, 1))
    send(dict(halves[5:]), True, weight_version="s")
    post(url, "/end_weight_update", {})
    same(url, new)
    print("in a session, whole or not at all")

    def tensor_update(new, data, **more):
        post(url, "/update_weights_from_tensor",
             {"serialized_named_tensors": [base64.b64encode(data).decode()], **more})
        same(url, new)

    for protocol in [2, 4, 5] if sys.version_info >= (3, 8) else [2, 4]:
        new = changed(weights, 10 + protocol)
        tensor_update(new, pickle.dumps(list(new.items()), protocol))
    torch.multiprocessing.set_sharing_strategy("file_system")
    new = changed(weights, 20)
    buffer = io.BytesIO()
    ForkingPickler(buffer).dump(list(new.items()))
    tensor_update(new, buffer.getvalue(), weight_version="shared")
    strided = {n: t.t().contiguous().t() if t.dim() == 2 else t for n, t in new.items()}
    buffer = io.BytesIO()
    ForkingPickler(buffer).dump(list(strided.items()))
    tensor_update(new, buffer.getvalue())
    metadata, start = [], 0
    for name, tensor in new.items():
        end = start + tensor.numel() * tensor.element_size()
        metadata.append(FlattenedTensorMetadata(name, tensor.shape, tensor.dtype, start, end, tensor.numel()))
        start = end
    flat = torch.cat([t.flatten().view(torch.uint8) for t in new.values()])
    tensor_update(new, pickle.dumps({"flattened_tensor": flat, "metadata": metadata}), load_format="flattened_bucket")
    torch.multiprocessing.set_sharing_strategy("file_descriptor")
    buffer = io.BytesIO()
    ForkingPickler(buffer).dump(list(new.items()))
    refused = post(url, "/update_weights_from_tensor",
                   {"serialized_named_tensors": [base64.b64encode(buffer.getvalue()).decode()]}, expected=400)
    assert "file_system" in refused["message"], refused
    print("pickled plainly, in shared memory; refused as a file descriptor")

    post(url, "/destroy_weights_update_group", {"group_name": "g1"})
    refused = post(url, "/destroy_weights_update_group", {"group_name": "g1"}, expected=400)
    assert refused == {"success": False, "message": "The group to be destroyed does not exist."}
    post(url, "/update_weights_from_disk", {"model_path": folder, "weight_version": "disk"})
    same(url, weights)
    print("from disk; all is well")


if __name__ == "__main__":
    main()
