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

Mixtures of experts are saved as they are published, expert by expert, unless STACKED says otherwise; their gradients have
those names in both cases. `margin` in the output is the smallest distance by which a router preferred an expert that it
chose to one that it did not: far above rounding, so that no other implementation can choose otherwise.
"""

import copy
import json
import pathlib
import shutil
import sys
import zlib

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM, GenerationConfig, Glm4MoeConfig, Glm4MoeForCausalLM,
    LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen2MoeConfig, Qwen2MoeForCausalLM, Qwen3Config,
    Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM,
)

FAMILIES = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "qwen2_moe": (Qwen2MoeConfig, Qwen2MoeForCausalLM),
    "qwen3_moe": (Qwen3MoeConfig, Qwen3MoeForCausalLM),
    "deepseek_v3": (DeepseekV3Config, DeepseekV3ForCausalLM),
    "glm4_moe": (Glm4MoeConfig, Glm4MoeForCausalLM),
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
    "qwen3-moe": ("qwen3_moe", "published", dict(
        num_key_value_heads=2, head_dim=8, rope_parameters=rope(1e6), num_hidden_layers=3, mlp_only_layers=[1],
        num_experts=5, num_experts_per_tok=2, moe_intermediate_size=8, norm_topk_prob=True, vocab_size=61)),
    "qwen3-moe-top-1-tied": ("qwen3_moe", "v5", dict(
        hidden_size=24, num_key_value_heads=1, head_dim=6, rope_parameters=rope(1e6), num_hidden_layers=3,
        decoder_sparse_step=2, num_experts=3, num_experts_per_tok=1, moe_intermediate_size=10, norm_topk_prob=False,
        tie_word_embeddings=True)),
    "qwen3-moe-stacked": ("qwen3_moe", "v5", dict(
        hidden_size=24, num_key_value_heads=2, head_dim=8, rope_parameters=rope(1e6), num_experts=6, num_experts_per_tok=3,
        moe_intermediate_size=12, norm_topk_prob=True, vocab_size=61)),
    "qwen2-moe": ("qwen2_moe", "published", dict(
        num_key_value_heads=2, rope_parameters=rope(1e6), use_sliding_window=False, num_experts=7, num_experts_per_tok=4,
        moe_intermediate_size=8, shared_expert_intermediate_size=20, norm_topk_prob=False, vocab_size=61)),
    "deepseek-v3": ("deepseek_v3", "published", dict(
        num_hidden_layers=3, q_lora_rank=12, kv_lora_rank=10, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=6,
        n_routed_experts=9, n_group=3, topk_group=2, num_experts_per_tok=3, first_k_dense_replace=1, n_shared_experts=1,
        moe_intermediate_size=8, routed_scaling_factor=2.5, norm_topk_prob=True, vocab_size=61,
        rope_parameters=rope(1e4, "yarn", factor=8.0, original_max_position_embeddings=16, mscale=1.0, mscale_all_dim=0.7,
                             beta_fast=32, beta_slow=1))),
    "deepseek-v3-no-query-rank": ("deepseek_v3", "v5", dict(
        q_lora_rank=None, kv_lora_rank=12, qk_nope_head_dim=6, qk_rope_head_dim=6, v_head_dim=16, rope_interleave=False,
        n_routed_experts=5, n_group=1, topk_group=1, num_experts_per_tok=2, first_k_dense_replace=0, n_shared_experts=2,
        moe_intermediate_size=8, routed_scaling_factor=1.5, norm_topk_prob=False, attention_bias=True, vocab_size=61,
        rope_parameters=rope(5e4), num_mtp_layers=0)),
    "glm4-moe": ("glm4_moe", "published", dict(
        num_key_value_heads=2, head_dim=8, partial_rotary_factor=0.5, rope_parameters=rope(1e6), n_routed_experts=5,
        num_experts_per_tok=4, first_k_dense_replace=1, n_shared_experts=1, moe_intermediate_size=8, use_qk_norm=True,
        routed_scaling_factor=2.5, norm_topk_prob=True, attention_bias=True, rms_norm_eps=1e-5, vocab_size=61)),
}
SHARD_SIZE = {"qwen3-sharded": "20KB"}
STACKED = {"qwen3-moe-stacked"}
# What a checkpoint holds that the model does not have.
EXTRA = {"deepseek-v3": {"model.layers.3.eh_proj.weight": torch.zeros(4, 8)}}


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
            parameter.data = 1.3 * noise / parameter.shape[-1] ** 0.5
    for name, buffer in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))


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
    if config["model_type"] in ("qwen2", "qwen2_moe"):
        config["sliding_window"] = 8  # present and without effect while use_sliding_window is false
    if config["model_type"] == "qwen3_moe":
        config["num_experts"] = config.pop("num_local_experts")
    if config["model_type"] == "deepseek_v3":
        for derived in ("head_dim", "qk_head_dim", "rope_interleave"):
            del config[derived]
        config |= {"scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_layer_freq": 1, "ep_size": 1}
    if config["model_type"] == "glm4_moe":
        config["rope_scaling"] = None
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
    model.save_pretrained(
        folder, max_shard_size=SHARD_SIZE.get(name, "5GB"), save_original_format=name not in STACKED)
    if name in EXTRA:
        file = folder / "model.safetensors"
        save_file({**load_file(file), **EXTRA[name]}, file, metadata={"format": "pt"})
    if spelling == "published":
        respell_as_published(folder / "config.json")
    return generator


def load(folder):
    # The plain loop over experts; the setting is ignored by models without.
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").train()


def published(name, tensor):
    """A parameter of a model in memory, as the tensors that it is published as."""
    if not name.endswith(("mlp.experts.gate_up_proj", "mlp.experts.down_proj")):
        return {name: tensor}
    place, kind = name.rsplit(".", 1)
    parts = {}
    for expert, rows in enumerate(tensor):
        names = ["gate_proj", "up_proj"] if kind == "gate_up_proj" else ["down_proj"]
        for part, half in zip(names, rows.chunk(len(names))):
            parts[f"{place}.{expert}.{part}.weight"] = half.contiguous()
    return parts


def watch_margins(model, margins):
    """Notes by how much routers prefer what they choose."""
    def note(router, inputs, outputs):
        logits, chosen = outputs[0].detach(), outputs[2]
        scores = logits.float()
        if hasattr(router, "e_score_correction_bias"):
            scores = scores.sigmoid() + router.e_score_correction_bias
            groups = scores.view(len(scores), router.num_group, -1)
            best = groups.topk(min(2, groups.shape[2]), dim=-1)[0].sum(-1).sort(descending=True).values
            if router.topk_group < router.num_group:
                margins.append((best[:, router.topk_group - 1] - best[:, router.topk_group]).min().item())
            allowed = torch.zeros_like(best).scatter(
                1, groups.topk(min(2, groups.shape[2]), dim=-1)[0].sum(-1).topk(router.topk_group)[1], 1)
            scores = groups.masked_fill(allowed[:, :, None] == 0, -torch.inf).flatten(1)
        picked = torch.zeros_like(scores, dtype=torch.bool).scatter(1, chosen, True)
        lowest = scores.masked_fill(~picked, torch.inf).amin(1)
        margins.append((lowest - scores.masked_fill(picked, -torch.inf).amax(1)).min().item())

    for name, module in model.named_modules():
        if name.endswith("mlp.gate"):
            module.register_forward_hook(note)


def reference(folder, generator):
    fresh = load(folder)
    margins = []
    watch_margins(fresh, margins)
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
            gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            gradients[name] = gradients.get(name, 0) + gradient
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
        **{f"gradient.{part}": value for name, gradient in gradients.items()
           for part, value in published(name, gradient).items()},
    }, folder / "reference.safetensors")
    if margins:
        print(f"{folder.name}: margin {min(margins):.1e}")
        assert min(margins) > 1e-4, "a router is nearly undecided; take another seed"
    print(f"{folder.name}: loss {loss:.4f}, |gradient| {min(g.norm() for g in gradients.values()):.2e} to "
          f"{max(g.norm() for g in gradients.values()):.2e}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = pathlib.Path("Tests/Fixtures/models")
    for name in sys.argv[1:] or MODELS:
        reference(root / name, create(root / name, name))
