"""What `slime plan` says a GPU needs, against what a launch took (by the driver's count, less that of a tiny model's).

    python3 Scripts/gpu/memory.py SLIME [FOLDER]     SLIME: the program; FOLDER: where models and data go [/tmp/slime-gpu]

Fails where they are more than 10 % apart.
"""
import re
import subprocess
import sys
import threading
from pathlib import Path

from models import make, rollouts

SLIME = sys.argv[1]
ROOM = Path(sys.argv[2] if len(sys.argv) > 2 else "/tmp/slime-gpu")
FULL = ["--recompute-granularity", "full", "--recompute-method", "uniform", "--recompute-num-layers", "1"]
FSDP = ["--train-backend", "fsdp"]
LEAN = ["--use-precision-aware-optimizer", "--main-grads-dtype", "bf16", "--exp-avg-dtype", "bf16", "--exp-avg-sq-dtype", "bf16"]
CASES = [(model, flags) for model in ("qwen3-0.6b", "llama-1.1b", "moe-0.5b") for flags in ([], FULL)] + [
    ("qwen3-0.6b", FSDP), ("qwen3-0.6b", FSDP + ["--gradient-checkpointing"]), ("qwen3-0.6b", LEAN)]


def flags(model, more):
    return [
        "--hf-checkpoint", str(ROOM / model), "--device", "cuda", "--dtype", "bfloat16", "--rollout-batch-size", "4",
        "--n-samples-per-prompt", "4", "--global-batch-size", "16", "--micro-batch-size", "4", "--lr", "1e-6", *more]


def used():
    answer = subprocess.run(
        ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"], capture_output=True, text=True)
    return max(int(word) for word in answer.stdout.split()) / 1024


def peak(model, data, more):
    highest, done = [0.0], threading.Event()

    def watch():
        while not done.wait(0.1):
            highest[0] = max(highest[0], used())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        subprocess.run(
            [SLIME, "train", *flags(model, more), "--debug-train-only", "--load-debug-rollout-data", str(data), "--num-rollout",
             "2"], check=True, capture_output=True, text=True)
    finally:
        done.set()
        thread.join()
    return highest[0]


def planned(model, more):
    text = subprocess.run(
        [SLIME, "plan", *flags(model, more), "--average-tokens", "2048", "--actor-num-nodes", "1"],
        capture_output=True, text=True).stdout
    return float(re.search(r"\n\s*peak\s+([\d.]+)", text).group(1))


make("tiny", ROOM)
none = peak("tiny", rollouts(ROOM / "short", 256, 64, 64, 16, 2), [])
data = rollouts(ROOM / "long", 32000, 2048, 2048, 16, 2)
is_right = True
for model, more in CASES:
    make(model, ROOM)
    plan, measured = planned(model, more), peak(model, data, more) - none
    is_right &= abs(plan / measured - 1) <= 0.1
    print(f"{model} {' '.join(more[:2])}: planned {plan:.1f}, measured {measured:.1f} GiB ({plan / measured - 1:+.1%})", flush=True)
sys.exit(0 if is_right else 1)
