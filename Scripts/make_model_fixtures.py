"""Writes Tests/Fixtures/models/<name>/: tiny random Hugging Face models with what `transformers` computes from them.

Needs torch and transformers (fp32, CPU). From the repository root: python3 Scripts/make_model_fixtures.py [NAME ...]

Each folder is a Hugging Face model (config.json, generation_config.json, model.safetensors or shards with an index) and
`reference.safetensors`, computed from the folder read back with `from_pretrained`, eager attention, each sequence run
alone (batch of one, positions from 0) through a fresh model:

  tokens           int64 [T]     the sequences one after another
  cu_seqlens       int64 [N+1]   sequence s is tokens[cu_seqlens[s] : cu_seqlens[s+1]]
  log_probs        fp32 [T-N]    natural log-probability of token i+1 given tokens 0...i; a sequence of length L gives
                                 L-1 values (none for L = 1), the sequences one after another
  entropy          fp32 [T-N]    entropy in nats of the distributions those log-probabilities come from
  logits_sequence  int64 [1]     the index of the sequence that `logits` belongs to
  logits           fp32 [L, vocab_size]  its logits at every position, the last one included
  loss             fp32 [1]      -mean of log_probs over all T-N predicted tokens
  gradient.<name>  fp32          d loss / d parameter, by the parameter's name in model.safetensors
"""

import copy
import json
import pathlib
import shutil
import sys
import zlib

import torch
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM, GenerationConfig, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config,
    Qwen3ForCausalLM,
)

FAMILIES = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
COMMON = dict(
    vocab_size=97, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=4, max_position_embeddings=512, rms_norm_eps=1e-6, tie_word_embeddings=False, hidden_act="silu",
    bos_token_id=1, eos_token_id=2, pad_token_id=None,
)
LENGTHS = [1, 2, 5, 17, 40]


def rope(theta, kind="default", **scaling):
    return dict(rope_theta=theta, rope_type=kind, **scaling)


LLAMA3_SCALING = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
YARN = dict(factor=4.0, original_max_position_embeddings=16)

# name: (family, spelling of config.json, changes to COMMON)
# Spelling: "v5" is what transformers 5 writes (rope_parameters, dtype); "published" is how the models on the Hub are
# written (rope_theta, rope_scaling, torch_dtype, no head_dim where it is hidden_size / num_attention_heads).
MODELS = {
    "llama2": ("llama", "published", dict(rms_norm_eps=1e-5)),
    "llama3-gqa": ("llama", "published", dict(
        num_key_value_heads=2, rms_norm_eps=1e-5, rope_parameters=rope(5e5), eos_token_id=[2, 5], vocab_size=128)),
    "llama31-rope-scaling": ("llama", "published", dict(
        num_key_value_heads=1, rope_parameters=rope(5e5, "llama3", **LLAMA3_SCALING), eos_token_id=[2, 5, 7])),
    "llama32-rope-parameters-tied": ("llama", "v5", dict(
        num_key_value_heads=2, head_dim=8, tie_word_embeddings=True,
        rope_parameters=rope(5e5, "llama3", **{**LLAMA3_SCALING, "factor": 32.0}))),
    "llama-biases-3-heads": ("llama", "v5", dict(
        hidden_size=24, num_attention_heads=3, num_key_value_heads=1, attention_bias=True, mlp_bias=True,
        intermediate_size=37, rms_norm_eps=1e-3)),
    "llama-head-dim-5-heads": ("llama", "v5", dict(
        hidden_size=30, num_attention_heads=5, num_key_value_heads=5, head_dim=8, num_hidden_layers=3, vocab_size=61)),
    "llama-rope-linear": ("llama", "published", dict(rope_parameters=rope(1e4, "linear", factor=2.5))),
    "llama-rope-dynamic": ("llama", "published", dict(
        max_position_embeddings=16, rope_parameters=rope(1e4, "dynamic", factor=2.0))),
    "qwen2": ("qwen2", "published", dict(
        num_attention_heads=6, num_key_value_heads=2, hidden_size=36, rope_parameters=rope(1e6),
        use_sliding_window=False, max_window_layers=1)),
    "qwen25-tied": ("qwen2", "published", dict(
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True, rope_parameters=rope(1e6),
        use_sliding_window=False, num_hidden_layers=3, eos_token_id=[3, 2])),
    "qwen25-yarn": ("qwen2", "published", dict(
        num_key_value_heads=2, max_position_embeddings=64, rope_parameters=rope(1e6, "yarn", **YARN),
        use_sliding_window=False)),
    "qwen3-tied": ("qwen3", "published", dict(
        num_key_value_heads=2, head_dim=16, tie_word_embeddings=True, rope_parameters=rope(1e6))),
    "qwen3-untied-3-heads": ("qwen3", "v5", dict(
        hidden_size=20, num_attention_heads=3, num_key_value_heads=1, head_dim=10, rope_parameters=rope(1e6),
        intermediate_size=33)),
    "qwen3-attention-bias": ("qwen3", "v5", dict(
        num_attention_heads=6, num_key_value_heads=2, head_dim=4, attention_bias=True, rope_parameters=rope(1e6),
        rms_norm_eps=1e-5)),
    "qwen3-sharded": ("qwen3", "v5", dict(num_key_value_heads=2, head_dim=8, rope_parameters=rope(1e6))),
}
SHARD_SIZE = {"qwen3-sharded": "20KB"}


def randomise(model, generator):
    """Weights large enough that a wrong scale, order or missing term shows; norms and biases away from 1 and 0."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("norm.weight"):
            parameter.data = 1 + 0.3 * noise
        elif name.endswith("bias"):
            parameter.data = 0.3 * noise
        elif "embed_tokens" in name:
            parameter.data = 0.5 * noise
        else:
            parameter.data = 1.3 * noise / parameter.shape[1] ** 0.5


def respell_as_published(path):
    config = json.loads(path.read_text())
    scaling = config.pop("rope_parameters")
    config["rope_theta"] = scaling.pop("rope_theta")
    kind = scaling.pop("rope_type")
    # Older models say `type`, Llama 3.1 and later `rope_type`.
    spelling = "rope_type" if kind == "llama3" else "type"
    config["rope_scaling"] = None if kind == "default" else {**scaling, spelling: kind}
    config["torch_dtype"] = config.pop("dtype")
    config.pop("layer_types", None)
    if config["model_type"] == "qwen2":
        config["sliding_window"] = 8  # present and without effect while use_sliding_window is false
    if config.get("head_dim") == config["hidden_size"] // config["num_attention_heads"]:
        del config["head_dim"]
    path.write_text(json.dumps(config, indent=2) + "\n")


def create(folder, name):
    """Writes the model folder."""
    family, spelling, changes = MODELS[name]
    config_class, model_class = FAMILIES[family]
    config = config_class(**{**COMMON, **changes})
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    model = model_class(config)
    randomise(model, generator)
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, do_sample=True, temperature=0.6, top_p=0.95)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, max_shard_size=SHARD_SIZE.get(name, "5GB"))
    if spelling == "published":
        respell_as_published(folder / "config.json")
    return generator


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").train()


def reference(folder, generator):
    fresh = load(folder)
    sequences = [torch.randint(fresh.config.vocab_size, (length,), generator=generator) for length in LENGTHS]
    predicted = sum(LENGTHS) - len(LENGTHS)
    log_probs, entropies, loss, gradients = [], [], 0.0, {}
    for index, tokens in enumerate(sequences):
        model = copy.deepcopy(fresh)
        logits = model(tokens[None]).logits[0]
        distribution = torch.log_softmax(logits[:-1], dim=-1)
        chosen = distribution.gather(1, tokens[1:, None])[:, 0]
        share = -chosen.sum() / predicted
        share.backward()
        loss += share.item()
        for name, parameter in model.named_parameters():
            gradients[name] = gradients.get(name, 0) + parameter.grad
        log_probs.append(chosen.detach())
        entropies.append(-(distribution.exp() * distribution).sum(-1).detach())
        if index == len(LENGTHS) - 2:
            kept = index, logits.detach().clone()
    save_file({
        "tokens": torch.cat(sequences),
        "cu_seqlens": torch.tensor([0] + LENGTHS).cumsum(0),
        "log_probs": torch.cat(log_probs),
        "entropy": torch.cat(entropies),
        "logits_sequence": torch.tensor([kept[0]]),
        "logits": kept[1],
        "loss": torch.tensor([loss]),
        **{f"gradient.{name}": gradient for name, gradient in gradients.items()},
    }, folder / "reference.safetensors")
    print(f"{folder.name}: loss {loss:.4f}, |gradient| {min(g.norm() for g in gradients.values()):.2e} to "
          f"{max(g.norm() for g in gradients.values()):.2e}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = pathlib.Path("Tests/Fixtures/models")
    for name in sys.argv[1:] or MODELS:
        reference(root / name, create(root / name, name))
