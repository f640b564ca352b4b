"""Training on two GPUs against one, over NCCL: gradient norms of four steps, and log-probabilities of `slime score`.

    python3 Scripts/gpu/layouts.py SLIME [FOLDER]     SLIME: the program; FOLDER: where models and data go [/tmp/slime-gpu]

Fails where norms differ by more than 1e-5 (fp32) or 5e-3 (bf16), or log-probabilities by more than 1e-4 (fp32). After its
first step a mixture may be 5e-4 away in fp32: where a router hesitates, a rounding sends a token elsewhere (one GPU that packs
samples otherwise is 7e-5 away).
"""
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from models import make, rollouts

SLIME = sys.argv[1]
ROOM = Path(sys.argv[2] if len(sys.argv) > 2 else "/tmp/slime-gpu")
TWO = ["--actor-num-gpus-per-node", "2"]
TENSOR = TWO + ["--tensor-model-parallel-size", "2", "--sequence-parallel"]
PIPELINE = TWO + ["--pipeline-model-parallel-size", "2"]
CONTEXT = ["--context-parallel-size", "2"]
EXPERT = ["--expert-model-parallel-size", "2"]
FSDP = ["--train-backend", "fsdp"]
LAYOUTS = {
    "dense-small": {
        "tensor 2": TENSOR, "pipeline 2": PIPELINE, "interleaved": PIPELINE + ["--num-layers-per-virtual-pipeline-stage", "2"],
        "context 2": TWO + CONTEXT, "data 2": TWO, "fsdp 1": FSDP, "fsdp 2": TWO + FSDP, "fsdp, context 2": TWO + FSDP + CONTEXT,
    },
    "moe-small": {
        "experts 2": TWO + EXPERT, "tensor 2, experts 2": TENSOR + EXPERT + ["--expert-tensor-parallel-size", "1"],
        "tensor 2, experts split": TENSOR + ["--expert-tensor-parallel-size", "2"], "experts 2, context 2": TWO + EXPERT + CONTEXT,
    },
    "gemma2-small": {"context 2": TWO + CONTEXT, "tensor 2": TENSOR},
}


def run(*words):
    done = subprocess.run([SLIME, *map(str, words)], capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(done.stderr[-600:])


def norms(model, dtype, name, flags):
    save = ROOM / f"{model}-{dtype}-{name}".replace(" ", "-").replace(",", "")
    run("train", "--hf-checkpoint", ROOM / model, "--device", "cuda", "--dtype", dtype, "--debug-train-only",
        "--load-debug-rollout-data", ROOM / "data/r-{rollout_id}.jsonl", "--num-rollout", 4, "--rollout-batch-size", 4,
        "--n-samples-per-prompt", 4, "--global-batch-size", 16, "--use-dynamic-batch-size", "--max-tokens-per-gpu", 4096,
        "--lr", "1e-4", "--weight-decay", 0, "--save", save, "--no-save-optim", *flags)
    lines = [json.loads(line) for line in open(save / "metrics.jsonl")]
    return [line["train/grad_norm"] for line in lines if "train/grad_norm" in line]


def scores(model, name, flags):
    output = ROOM / f"{model}-{name}.jsonl".replace(" ", "-").replace(",", "")
    run("score", "--hf-checkpoint", ROOM / model, "--device", "cuda", "--dtype", "float32", "--input", ROOM / "in.jsonl",
        "--output", output, *flags)
    return [number for line in open(output) for number in json.loads(line)["log_probs"]]


def job(model, dtype, name, flags):
    try:
        wants_scores = dtype == "float32" and "fsdp" not in flags
        return norms(model, dtype, name, flags), scores(model, name, flags) if wants_scores else None
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return error, None


rollouts(ROOM / "data", 32000, 500, 1500, 16, 4)
samples = [json.loads(line) for line in open(ROOM / "data/r-0.jsonl")]
(ROOM / "in.jsonl").write_text("".join(json.dumps({"tokens": sample["tokens"]}) + "\n" for sample in samples))
jobs = []
for model, layouts in LAYOUTS.items():
    make(model, ROOM)
    jobs += [(model, dtype, name, flags) for dtype in ("float32", "bfloat16") for name, flags in {"one": [], **layouts}.items()]
with ThreadPoolExecutor(5) as pool:
    results = dict(zip((job[:3] for job in jobs), pool.map(lambda words: job(*words), jobs)))
is_right = True
for (model, dtype, name), (found, log_probs) in results.items():
    wanted, wanted_log_probs = results[model, dtype, "one"]
    if isinstance(found, Exception) or isinstance(wanted, Exception):
        is_right = False
        print(model, dtype, name, "failed:", found)
        continue
    apart = [abs(a - b) / abs(b) for a, b in zip(found, wanted, strict=True)]
    line = f"{model}, {dtype}, {name}: norms {apart[0]:.1e}, then {max(apart):.1e}"
    bounds = (5e-3, 5e-3) if dtype == "bfloat16" else (1e-5, 5e-4 if model == "moe-small" else 1e-5)
    is_right &= apart[0] <= bounds[0] and max(apart) <= bounds[1]
    if log_probs is not None:
        furthest = max(abs(a - b) for a, b in zip(log_probs, wanted_log_probs, strict=True))
        line += f", log-probs {furthest:.1e}"
        is_right &= furthest <= 1e-4
    print(line, flush=True)
sys.exit(0 if is_right else 1)
