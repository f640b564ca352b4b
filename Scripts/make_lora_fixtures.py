"""Writes Tests/Fixtures/lora/<name>/: LoRA adapters of models in Tests/Fixtures/models, with what `transformers` computes.

Needs torch, transformers and safetensors (fp32, CPU). From the repository root: python3 Scripts/make_lora_fixtures.py

Each folder is an adapter as PEFT saves it (adapter_config.json, adapter_model.safetensors) and `reference.safetensors`. The
reference comes from the base model with the adapter merged by its definition, W + scale · B A with scale = lora_alpha / r or,
with use_rslora, lora_alpha / sqrt(r) (Hu et al., 2021; Kalajdzievski, 2023), eager attention, each sequence run alone:

  tokens      int64 [T]     sequences one after another
  cu_seqlens  int64 [N+1]   sequence s is tokens[cu_seqlens[s] : cu_seqlens[s+1]]
  log_probs   fp32 [T-N]    natural log-probability of token i+1 given tokens 0...i, the sequences one after another
  greedy      int64 [N, 12] what each sequence goes on with at temperature 0

`moved` in the output is how far the adapter moves log-probabilities from the base model's, and `margin` the smallest distance
of a greedy token's logit to the next: far above rounding, so that no other implementation can choose otherwise. Where the
first numbers drawn leave two tokens too close, others are drawn.
"""

import json
import math
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

ROOT = pathlib.Path("Tests/Fixtures")
LENGTHS = [5, 17, 40]
NEW_TOKENS = 12
SMALLEST_MARGIN = 2e-3
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
FEED_FORWARD = ["gate_proj", "up_proj", "down_proj"]

# name: (model, targets, changes to the configuration, layers or None for all)
ADAPTERS = {
    "llama3-gqa-all": ("llama3-gqa", ATTENTION + FEED_FORWARD, dict(r=4, lora_alpha=8), None),
    "llama3-gqa-queries": ("llama3-gqa", ["q_proj", "v_proj"], dict(r=2, lora_alpha=3, use_rslora=True), None),
    "llama3-gqa-last-layer": (
        "llama3-gqa", ["k_proj", "o_proj", "up_proj"], dict(r=3, lora_alpha=6, rank_pattern={"k_proj": 5}), [1]),
    "qwen2-attention": ("qwen2", ATTENTION, dict(r=3, lora_alpha=3), None),
    "deepseek-v3-latent": (
        "deepseek-v3", ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj", "shared_experts.up_proj"],
        dict(r=2, lora_alpha=4), None),
}


def configuration(model, targets, changes, layers):
    config = dict(
        alpha_pattern={}, auto_mapping=None, base_model_name_or_path=model, bias="none", fan_in_fan_out=False,
        inference_mode=True, init_lora_weights=True, layer_replication=None, layers_pattern=None,
        layers_to_transform=layers, loftq_config={}, lora_alpha=8, lora_bias=False, lora_dropout=0.0,
        megatron_config=None, megatron_core="megatron.core", modules_to_save=None, peft_type="LORA", r=8, rank_pattern={},
        revision=None, target_modules=targets, task_type="CAUSAL_LM", use_dora=False, use_rslora=False)
    return {**config, **changes}


def modules(model, targets, layers):
    for name, module in model.named_modules():
        if not any(name == target or name.endswith("." + target) for target in targets):
            continue
        if layers is None or int(name.split(".")[2]) in layers:
            yield name, module


def log_probs(model, sequences):
    values = []
    for tokens in sequences:
        logits = model(tokens[None], use_cache=False).logits[0, :-1]
        values.append(logits.log_softmax(-1).gather(1, tokens[1:, None])[:, 0])
    return torch.cat(values)


def greedy(model, sequences):
    rows, margin = [], math.inf
    for tokens in sequences:
        for _ in range(NEW_TOKENS):
            top = model(tokens[None], use_cache=False).logits[0, -1].topk(2)
            margin = min(margin, (top.values[0] - top.values[1]).item())
            tokens = torch.cat([tokens, top.indices[:1]])
        rows.append(tokens[-NEW_TOKENS:])
    return torch.stack(rows), margin


@torch.no_grad()
def write(name, seed):
    base, targets, changes, layers = ADAPTERS[name]
    config = configuration(base, targets, changes, layers)
    generator = torch.Generator().manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(ROOT / "models" / base, dtype=torch.float32, attn_implementation="eager")
    model.eval()
    size = model.config.vocab_size
    sequences = [torch.randint(3, size, (length,), generator=generator) for length in LENGTHS]
    before = log_probs(model, sequences)
    tensors = {}
    for path, module in modules(model, targets, layers):
        rank = next((r for key, r in config["rank_pattern"].items() if path.endswith(key)), config["r"])
        a = torch.randn(rank, module.in_features, generator=generator) * 0.2
        b = torch.randn(module.out_features, rank, generator=generator) * 0.2
        scale = config["lora_alpha"] / (math.sqrt(rank) if config["use_rslora"] else rank)
        module.weight += scale * (b @ a)
        tensors[f"base_model.model.{path}.lora_A.weight"] = a
        tensors[f"base_model.model.{path}.lora_B.weight"] = b
    after = log_probs(model, sequences)
    tokens, margin = greedy(model, sequences)
    if margin < SMALLEST_MARGIN:
        return write(name, seed + 1000)
    folder = ROOT / "lora" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    offsets = torch.tensor([0] + LENGTHS).cumsum(0)
    save_file(
        dict(tokens=torch.cat(sequences), cu_seqlens=offsets, log_probs=after, greedy=tokens),
        folder / "reference.safetensors")
    print(f"{name}: {len(tensors) // 2} modules, moved {(after - before).abs().mean():.3f}, margin {margin:.4f}")


for index, name in enumerate(ADAPTERS):
    write(name, seed=index)
