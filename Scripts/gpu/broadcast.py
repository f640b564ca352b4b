"""A PyTorch process on one GPU broadcasts weights to `slime serve` on another, over NCCL, and another one dies on the way.

    python3 Scripts/gpu/broadcast.py SLIME [FOLDER]     SLIME: the program; FOLDER: where the model goes [/tmp/slime-gpu]
"""
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torch.distributed as dist

from models import make

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "Scripts"))
from update_weights_distributed import changed, free_port, init_custom_process_group, load, post, same

MODEL = "dense-small"
# Broadcasts of one update, and rows of a weight that are compared.
PARTS, ROWS = 3, 4


def parts(weights):
    names = list(weights)
    return [{name: weights[name] for name in names[i::PARTS]} for i in range(PARTS)]


def send(folder, port, name, seed):
    """The sender: for each line of its input it broadcasts the next part, or dies."""
    torch.cuda.set_device(0)
    buckets = [
        torch.cat([tensor.flatten().view(torch.uint8) for tensor in part.values()]).cuda()
        for part in parts(changed(load(folder), int(seed)))]
    group = init_custom_process_group(f"tcp://127.0.0.1:{port}", 2, 0, name, "nccl")
    for line, bucket in zip(sys.stdin, buckets):
        if line.strip() == "die":
            os._exit(1)
        dist.broadcast(bucket, src=0, group=group)
        torch.cuda.synchronize()
    sys.stdin.read()
    os._exit(0)


class Sender:
    def __init__(self, url, folder, name, seed, pool):
        self.url, self.name, self.pool = url, name, pool
        self.parts = parts(changed(load(folder), seed))
        port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, __file__, "send", folder, str(port), name, str(seed)], stdin=subprocess.PIPE, text=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "0"})
        post(url, "/init_weights_update_group", {
            "master_address": "127.0.0.1", "master_port": port, "rank_offset": 1, "world_size": 2, "group_name": name,
            "backend": "nccl"})

    def broadcast(self, number, word="send", **more):
        """What the server answers to a part that is sent, or not."""
        part = self.parts[number]
        body = {
            "names": list(part), "dtypes": [str(tensor.dtype).split(".")[1] for tensor in part.values()],
            "shapes": [list(tensor.shape) for tensor in part.values()], "group_name": self.name,
            "load_format": "flattened_bucket", **more}
        expected = 200 if word == "send" else 400
        answer = self.pool.submit(post, self.url, "/update_weights_from_distributed", body, expected)
        time.sleep(0.2)
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return answer.result()


def update(url, folder, name, seed, pool):
    sender = Sender(url, folder, name, seed, pool)
    post(url, "/begin_weight_update", {})
    for number in range(PARTS):
        sender.broadcast(number, weight_version=name)
    post(url, "/end_weight_update", {})
    post(url, "/destroy_weights_update_group", {"group_name": name})
    sender.process.stdin.close()
    sender.process.wait(60)
    same(url, changed(load(folder), seed), ROWS)


def wait_for(url, server):
    for _ in range(600):
        assert server.poll() is None, "the server ended"
        try:
            return urllib.request.urlopen(url + "/health", timeout=5)
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError("the server did not answer for two minutes")


def main(slime, room="/tmp/slime-gpu"):
    folder = str(make(MODEL, room))
    shutil.copytree(ROOT / "Tests/Fixtures/Tokenization/tokenizers/qwen3", folder, dirs_exist_ok=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [slime, "serve", "--model-path", folder, "--port", str(port), "--device", "cuda",
         "--mem-fraction-static", "0.3"], env={**os.environ, "CUDA_VISIBLE_DEVICES": "1"})
    try:
        wait_for(url, server)
        with ThreadPoolExecutor(2) as pool:
            update(url, folder, "first", 1, pool)
            print("broadcast over NCCL", flush=True)
            dying = Sender(url, folder, "dying", 2, pool)
            post(url, "/begin_weight_update", {})
            dying.broadcast(0)
            start = time.monotonic()
            answer = dying.broadcast(1, "die")
            assert "Failed to receive weights" in json.dumps(answer), answer
            print(f"the sender died: {time.monotonic() - start:.1f} s later {answer}", flush=True)
            same(url, changed(load(folder), 1), ROWS)
            post(url, "/generate", {"input_ids": [5], "sampling_params": {"max_new_tokens": 4}})
            post(url, "/destroy_weights_update_group", {"group_name": "dying"})
            update(url, folder, "next", 3, pool)
            print("the old weights served on, and the next sender reached the server", flush=True)
    finally:
        server.terminate()
        server.wait(60)


if __name__ == "__main__":
    send(*sys.argv[2:]) if sys.argv[1] == "send" else main(*sys.argv[1:])
