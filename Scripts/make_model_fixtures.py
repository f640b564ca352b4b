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
  gradient.<name>  fp32          d loss / d parameter, by the names that save_pretrained gives
  prompts          int64 [P]     prompts one after another, and where each begins and ends: prompt_cu_seqlens int64 [N+1]
  generated        int64 [N,64]  what `generate` makes of each greedily, end-of-sequence tokens or not

Mixtures of experts are saved as they are published, expert by expert, unless STACKED says otherwise; their gradients have
those names in both cases. `margin` in the output is the smallest distance by which a router preferred an expert that it
chose to one that it did not: far above rounding, so that no other implementation can choose otherwise. Prompts are such
that the likeliest token of every step is far above rounding likelier than the next.
"""

import copy
import json
import tempfile
import pathlib
import shutil
import sys
import zlib

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

COMMON = dict(
    vocab_size=97, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=4, max_position_embeddings=512, rms_norm_eps=1e-6, tie_word_embeddings=False, hidden_act="silu",
    bos_token_id=1, eos_token_id=2, pad_token_id=None,
)
# GPT-2 has names of its own.
GPT2 = dict(
    vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=128, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    bos_token_id=1, eos_token_id=2)
LENGTHS = [1, 2, 5, 17, 40]
# Of some models one that is more than two of the chunks that states go along (64 tokens).
LONGER = {"qwen3-next": [130], "qwen35-3-heads-tied": [130]}
PROMPT_LENGTHS = [1, 9, 33]
NEW_TOKENS = 64
# Of logits, and of routers' scores: far above the rounding of fp32.
GREEDY_MARGIN, ROUTER_MARGIN = 2e-3, 5e-6


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
    # Up to max_position_embeddings it changes nothing.
    "llama-rope-dynamic": ("llama", "published", dict(
        max_position_embeddings=128, rope_parameters=rope(1e4, "dynamic", factor=2.0))),
    "qwen2": ("qwen2", "published", dict(
        num_attention_heads=6, num_key_value_heads=2, hidden_size=36, rope_parameters=rope(1e6),
        use_sliding_window=False, max_window_layers=1)),
    "qwen25-tied": ("qwen2", "published", dict(
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True, rope_parameters=rope(1e6),
        use_sliding_window=False, num_hidden_layers=3, eos_token_id=[3, 2])),
    "qwen25-yarn": ("qwen2", "published", dict(
        num_key_value_heads=2, max_position_embeddings=128, rope_parameters=rope(1e6, "yarn", **YARN),
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
    "glm4-moe-no-qk-norm": ("glm4_moe", "v5", dict(
        hidden_size=24, num_key_value_heads=4, head_dim=6, rope_parameters=rope(1e4, partial_rotary_factor=1.0),
        n_routed_experts=4, num_experts_per_tok=2, n_group=2, topk_group=1, first_k_dense_replace=0, n_shared_experts=2,
        moe_intermediate_size=8, use_qk_norm=False, routed_scaling_factor=1.0, norm_topk_prob=False, attention_bias=False,
        vocab_size=61)),
    "llama1": ("llama", "published", dict(num_attention_heads=2, num_key_value_heads=2, intermediate_size=44)),
    "qwen2-window": ("qwen2", "published", dict(
        num_key_value_heads=2, rope_parameters=rope(1e6), num_hidden_layers=3, use_sliding_window=True, sliding_window=6,
        max_window_layers=1)),
    "qwen3-window": ("qwen3", "v5", dict(
        num_key_value_heads=2, head_dim=8, rope_parameters=rope(1e6), use_sliding_window=True, sliding_window=5,
        max_window_layers=0)),
    "qwen2-moe-window": ("qwen2_moe", "published", dict(
        num_key_value_heads=4, rope_parameters=rope(1e6), use_sliding_window=True, sliding_window=6, max_window_layers=2,
        num_experts=4, num_experts_per_tok=2, moe_intermediate_size=8, shared_expert_intermediate_size=12,
        norm_topk_prob=True, vocab_size=61)),
    "qwen2-moe-sparse-tied": ("qwen2_moe", "v5", dict(
        hidden_size=20, num_attention_heads=2, num_key_value_heads=1, num_hidden_layers=4, qkv_bias=False, decoder_sparse_step=2,
        mlp_only_layers=[3], tie_word_embeddings=True, rope_parameters=rope(1e5), num_experts=3, num_experts_per_tok=2,
        moe_intermediate_size=9, shared_expert_intermediate_size=7, norm_topk_prob=True, vocab_size=61)),
    "qwen3-moe-window-bias": ("qwen3_moe", "published", dict(
        num_attention_heads=2, num_key_value_heads=2, head_dim=10, attention_bias=True, use_sliding_window=True, sliding_window=5,
        max_window_layers=1, rope_parameters=rope(1e4, "linear", factor=2.0), num_experts=4, num_experts_per_tok=2,
        moe_intermediate_size=9, norm_topk_prob=False, vocab_size=61)),
    "deepseek-v2-biases-tied": ("deepseek_v2", "v5", dict(
        q_lora_rank=8, kv_lora_rank=6, qk_nope_head_dim=4, qk_rope_head_dim=6, v_head_dim=10, n_routed_experts=4,
        num_experts_per_tok=3, first_k_dense_replace=1, n_shared_experts=1, moe_intermediate_size=9, routed_scaling_factor=1.5,
        topk_method="greedy", attention_bias=True, mlp_bias=True, tie_word_embeddings=True, vocab_size=61,
        rope_parameters=rope(2e4))),
    "mistral": ("mistral", "published", dict(
        num_key_value_heads=2, head_dim=6, rms_norm_eps=1e-5, rope_parameters=rope(1e6), sliding_window=None)),
    "mistral-window": ("mistral", "v5", dict(
        hidden_size=36, num_attention_heads=6, num_key_value_heads=2, sliding_window=6, num_hidden_layers=3)),
    "mixtral": ("mixtral", "published", dict(
        num_key_value_heads=2, rope_parameters=rope(1e6), num_local_experts=6, num_experts_per_tok=2,
        intermediate_size=12, rms_norm_eps=1e-5, sliding_window=None, vocab_size=61)),
    "mixtral-window-tied": ("mixtral", "v5", dict(
        num_key_value_heads=4, head_dim=6, rope_parameters=rope(1e4), num_local_experts=5, num_experts_per_tok=3,
        intermediate_size=10, sliding_window=5, tie_word_embeddings=True, vocab_size=61)),
    "phi3": ("phi3", "published", dict(num_key_value_heads=2, sliding_window=7, rms_norm_eps=1e-5)),
    "phi3-longrope": ("phi3", "published", dict(
        hidden_size=40, num_key_value_heads=1, rms_norm_eps=1e-5, original_max_position_embeddings=128,
        rope_parameters=rope(1e4, "longrope", short_factor=[1.0, 1.1, 1.3, 1.9, 2.5], long_factor=[1.0, 2.0, 4.0, 8.0, 9.0],
                             original_max_position_embeddings=128))),
    "phi4-mini": ("phi3", "v5", dict(
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True, rms_norm_eps=1e-5,
        original_max_position_embeddings=128,
        rope_parameters=rope(1e4, "longrope", short_factor=[1.0, 1.2, 1.4, 2.0, 2.5, 3.0],
                             long_factor=[1.0, 2.0, 4.0, 8.0, 9.0, 9.5], original_max_position_embeddings=128,
                             partial_rotary_factor=0.75))),
    "glm": ("glm", "published", dict(num_key_value_heads=2, head_dim=8, attention_bias=True, rms_norm_eps=1.5625e-7)),
    "glm-no-bias": ("glm", "v5", dict(
        hidden_size=24, num_attention_heads=6, num_key_value_heads=1, head_dim=4, attention_bias=False,
        rope_parameters=rope(1e4, partial_rotary_factor=1.0))),
    "glm4": ("glm4", "published", dict(num_key_value_heads=2, head_dim=8, attention_bias=False, rms_norm_eps=1e-5)),
    "glm4-bias": ("glm4", "v5", dict(
        num_attention_heads=2, num_key_value_heads=2, head_dim=12, attention_bias=True, tie_word_embeddings=True,
        rope_parameters=rope(5e4, partial_rotary_factor=0.5))),
    "gemma2": ("gemma2", "published", dict(
        num_key_value_heads=2, head_dim=10, query_pre_attn_scalar=12, sliding_window=6, attn_logit_softcapping=5.0,
        final_logit_softcapping=3.0, tie_word_embeddings=True, hidden_activation="gelu_pytorch_tanh", num_hidden_layers=3)),
    "gemma2-untied-no-caps": ("gemma2", "v5", dict(
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, query_pre_attn_scalar=16, sliding_window=4,
        attn_logit_softcapping=None, final_logit_softcapping=None, attention_bias=True, hidden_activation="gelu",
        layer_types=["full_attention", "sliding_attention"])),
    "gemma3": ("gemma3_text", "published", dict(
        num_key_value_heads=1, head_dim=8, query_pre_attn_scalar=8, sliding_window=6, tie_word_embeddings=True,
        sliding_window_pattern=2, num_hidden_layers=3, rope_parameters=dict(
            sliding_attention=rope(1e4), full_attention=rope(1e6, "linear", factor=8.0)))),
    "gemma3-caps": ("gemma3_text", "v5", dict(
        hidden_size=24, num_attention_heads=6, num_key_value_heads=2, head_dim=6, query_pre_attn_scalar=10,
        sliding_window=5, attn_logit_softcapping=None, final_logit_softcapping=6.0, attention_bias=True,
        layer_types=["sliding_attention", "full_attention"], rope_parameters=dict(
            sliding_attention=rope(2e4), full_attention=rope(1e6)))),
    "gemma3-eyes": ("gemma3", "published", dict(
        num_key_value_heads=2, head_dim=8, query_pre_attn_scalar=8, sliding_window=6, sliding_window_pattern=3,
        num_hidden_layers=4, rope_parameters=dict(sliding_attention=rope(1e4), full_attention=rope(1e6, "linear", factor=8.0)))),
    "gemma3-eyes-untied": ("gemma3", "v5", dict(
        hidden_size=28, num_attention_heads=2, num_key_value_heads=1, head_dim=10, query_pre_attn_scalar=12, sliding_window=5,
        layer_types=["full_attention", "sliding_attention"], tie_word_embeddings=False, rope_parameters=dict(
            sliding_attention=rope(2e4), full_attention=rope(1e6)))),
    "deepseek-v2": ("deepseek_v2", "published", dict(
        num_hidden_layers=3, q_lora_rank=12, kv_lora_rank=10, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=6,
        n_routed_experts=8, n_group=4, topk_group=2, num_experts_per_tok=3, first_k_dense_replace=1, n_shared_experts=2,
        moe_intermediate_size=8, routed_scaling_factor=4.0, topk_method="group_limited_greedy", norm_topk_prob=False,
        vocab_size=61, rope_parameters=rope(1e4, "yarn", factor=8.0, original_max_position_embeddings=16, mscale=0.7,
                                            mscale_all_dim=0.7, beta_fast=32, beta_slow=1))),
    "deepseek-v2-lite": ("deepseek_v2", "v5", dict(
        q_lora_rank=None, kv_lora_rank=12, qk_nope_head_dim=6, qk_rope_head_dim=6, v_head_dim=10, n_routed_experts=5,
        num_experts_per_tok=2, first_k_dense_replace=0, n_shared_experts=1, moe_intermediate_size=8,
        routed_scaling_factor=1.0, topk_method="greedy", attention_bias=True, mlp_bias=False, vocab_size=61,
        rope_parameters=rope(1e4))),
    "moonlight": ("deepseek_v3", "published", dict(
        q_lora_rank=None, kv_lora_rank=12, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=8, n_routed_experts=8,
        n_group=1, topk_group=1, num_experts_per_tok=3, first_k_dense_replace=1, n_shared_experts=2,
        moe_intermediate_size=8, routed_scaling_factor=2.446, norm_topk_prob=True, vocab_size=61, rope_parameters=rope(5e4))),
    "kimi-k2": ("deepseek_v3", "published", dict(
        q_lora_rank=10, kv_lora_rank=12, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=6, n_routed_experts=6,
        n_group=1, topk_group=1, num_experts_per_tok=2, first_k_dense_replace=1, n_shared_experts=1,
        moe_intermediate_size=8, routed_scaling_factor=2.827, norm_topk_prob=True, vocab_size=61,
        rope_parameters=rope(5e4, "yarn", factor=32.0, original_max_position_embeddings=16, mscale=1.0, mscale_all_dim=1.0,
                             beta_fast=1, beta_slow=1))),
    "minimax-m2": ("minimax_m2", "published", dict(
        num_key_value_heads=2, head_dim=8, rope_parameters=rope(5e6, partial_rotary_factor=0.5), num_local_experts=6,
        num_experts_per_tok=2, intermediate_size=12, vocab_size=61)),
    "minimax-m2-whole-rotary": ("minimax_m2", "v5", dict(
        hidden_size=24, num_attention_heads=6, num_key_value_heads=1, head_dim=6, rope_parameters=rope(1e4),
        num_local_experts=5, num_experts_per_tok=3, intermediate_size=8, tie_word_embeddings=True, vocab_size=61)),
    "mimo": ("qwen2", "published", dict(
        num_key_value_heads=2, rope_parameters=rope(6.4e5), use_sliding_window=False, rms_norm_eps=1e-5)),
    "mimo-tied": ("qwen2", "published", dict(
        hidden_size=24, num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=True, rope_parameters=rope(1e4),
        use_sliding_window=False)),
    "gpt-oss": ("gpt_oss", "published", dict(
        num_key_value_heads=2, head_dim=6, intermediate_size=10, num_local_experts=6, num_experts_per_tok=3,
        sliding_window=6, num_hidden_layers=2, vocab_size=61, rope_parameters=rope(
            1.5e5, "yarn", factor=32.0, beta_fast=32.0, beta_slow=1.0, truncate=False, original_max_position_embeddings=16))),
    "gpt-oss-no-bias": ("gpt_oss", "v5", dict(
        hidden_size=20, num_attention_heads=2, num_key_value_heads=2, head_dim=8, intermediate_size=12, num_local_experts=5,
        num_experts_per_tok=2, sliding_window=4, attention_bias=False, tie_word_embeddings=True, vocab_size=61,
        layer_types=["full_attention", "sliding_attention"], rope_parameters=rope(1e4), swiglu_limit=1.5)),
    "gpt-oss-mxfp4": ("gpt_oss", "published", dict(
        num_key_value_heads=2, head_dim=8, intermediate_size=32, num_local_experts=4, num_experts_per_tok=2,
        sliding_window=6, vocab_size=61, rope_parameters=rope(
            1.5e5, "yarn", factor=32.0, beta_fast=32.0, beta_slow=1.0, truncate=False, original_max_position_embeddings=16))),
    "gpt2": ("gpt2", "v5", {}),
    "gpt2-untied-scaled": ("gpt2", "v5", dict(
        n_embd=30, n_head=6, n_inner=44, n_layer=3, activation_function="relu", scale_attn_weights=False,
        scale_attn_by_inverse_layer_idx=True, tie_word_embeddings=False)),
    "gpt-neox": ("gpt_neox", "published", dict(
        intermediate_size=48, hidden_act="gelu", layer_norm_eps=1e-5, rope_parameters=rope(1e4, partial_rotary_factor=0.25))),
    "gpt-neox-sequential": ("gpt_neox", "v5", dict(
        hidden_size=36, num_attention_heads=6, intermediate_size=44, hidden_act="gelu_new", use_parallel_residual=False,
        attention_bias=False, tie_word_embeddings=True, rope_parameters=rope(2e4, partial_rotary_factor=1.0))),
    "qwen3-next": ("qwen3_next", "published", dict(
        num_key_value_heads=2, head_dim=16, num_hidden_layers=4, rope_parameters=rope(1e7, partial_rotary_factor=0.25),
        linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=12, linear_value_head_dim=6,
        linear_conv_kernel_dim=4, num_experts=6, num_experts_per_tok=3, moe_intermediate_size=8,
        shared_expert_intermediate_size=12, norm_topk_prob=True, mlp_only_layers=[1], vocab_size=61)),
    "qwen3-next-3-heads-tied": ("qwen3_next", "v5", dict(
        hidden_size=24, num_attention_heads=3, num_key_value_heads=1, head_dim=12, num_hidden_layers=3,
        rope_parameters=rope(1e4, partial_rotary_factor=0.5), attention_bias=True, tie_word_embeddings=True,
        layer_types=["full_attention", "linear_attention", "linear_attention"], linear_num_key_heads=3,
        linear_num_value_heads=3, linear_key_head_dim=5, linear_value_head_dim=7, linear_conv_kernel_dim=3, num_experts=5,
        num_experts_per_tok=2, moe_intermediate_size=10, shared_expert_intermediate_size=9, norm_topk_prob=False,
        decoder_sparse_step=2, vocab_size=61)),
    "qwen35": ("qwen3_5_text", "v5", dict(
        num_key_value_heads=2, head_dim=16, num_hidden_layers=4, linear_num_key_heads=2, linear_num_value_heads=4,
        linear_key_head_dim=10, linear_value_head_dim=6, linear_conv_kernel_dim=4,
        rope_parameters=rope(1e7, partial_rotary_factor=0.25, mrope_section=[1, 1, 0], mrope_interleaved=True))),
    "qwen35-3-heads-tied": ("qwen3_5_text", "v5", dict(
        hidden_size=24, num_attention_heads=3, num_key_value_heads=3, head_dim=10, intermediate_size=37, num_hidden_layers=2,
        attention_bias=True, tie_word_embeddings=True, layer_types=["linear_attention", "full_attention"],
        linear_num_key_heads=1, linear_num_value_heads=3, linear_key_head_dim=7, linear_value_head_dim=5,
        linear_conv_kernel_dim=2, rope_parameters=rope(1e4, partial_rotary_factor=0.8))),
    "qwen35-moe": ("qwen3_5_moe_text", "v5", dict(
        num_key_value_heads=1, head_dim=8, num_hidden_layers=2, layer_types=["linear_attention", "full_attention"],
        linear_num_key_heads=2, linear_num_value_heads=2, linear_key_head_dim=8, linear_value_head_dim=8,
        linear_conv_kernel_dim=4, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=8,
        shared_expert_intermediate_size=10, vocab_size=61, rope_parameters=rope(1e6, partial_rotary_factor=0.5))),
    "qwen35-moe-1-expert-tied": ("qwen3_5_moe_text", "v5", dict(
        hidden_size=20, num_attention_heads=5, num_key_value_heads=5, head_dim=6, num_hidden_layers=3,
        layer_types=["linear_attention", "linear_attention", "full_attention"],
        linear_num_key_heads=2, linear_num_value_heads=6, linear_key_head_dim=4, linear_value_head_dim=5,
        linear_conv_kernel_dim=3, num_experts=3, num_experts_per_tok=1, moe_intermediate_size=7, tie_word_embeddings=True,
        shared_expert_intermediate_size=5, vocab_size=61, rope_parameters=rope(1e4, partial_rotary_factor=1.0))),
}
SHARD_SIZE = {"qwen3-sharded": "20KB"}
# Saved as transformers 5 computes with them: the experts of a layer as one, other first words of names.
STACKED = {"qwen3-moe-stacked", "qwen35-moe-1-expert-tied", "gemma3-eyes-untied"}
# What models have beside their language model that is left aside here.
EYES = dict(
    mm_tokens_per_image=4, image_token_index=97, boi_token_index=95, eoi_token_index=96,
    vision_config=dict(
        hidden_size=12, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14,
        vision_use_head=False))
# What a checkpoint holds that the model does not have.
EXTRA = {
    "deepseek-v3": {"model.layers.3.eh_proj.weight": torch.zeros(4, 8)},
    "llama1": {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)},
    "mimo": {"model.mtp_layers.0.input_proj.weight": torch.zeros(4, 8)},
    "qwen3-next": {"mtp.fc.weight": torch.zeros(4, 8)},
    "qwen35": {"mtp.layers.0.input_layernorm.weight": torch.zeros(8)},
}
# Models that transformers knows by another name, and what their config.json says besides.
ALIASES = {
    "mimo": dict(model_type="mimo", architectures=["MiMoForCausalLM"], num_nextn_predict_layers=1, attention_bias=True),
    "mimo-tied": dict(model_type="mimo", architectures=["MiMoForCausalLM"], attention_bias=True),
    "kimi-k2": dict(model_type="kimi_k2"),
}
# Kept without the first word of its names, as the first GPT-2 was published.
UNPREFIXED = {"gpt2"}
# Experts kept as bytes: by folder, the tensors of the files.
PACKED = {}


def randomise(model, generator):
    """Weights large enough that a wrong scale, order or missing term shows; norms and biases away from 1 and 0."""
    family = model.config.model_type if hasattr(model, "config") else ""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if family.startswith(("qwen3_next", "qwen3_5")) and name.endswith("norm.weight") and not (
                "linear_attn" in name or "visual" in name):  # around 0, or scores are so sharp that fp32 says little of them
            parameter.data = 0.3 * noise
        elif name.endswith("norm.weight"):
            parameter.data = 1 + 0.3 * noise
        elif parameter.dim() == 1 and name.endswith("weight"):  # Gemma's are around 0
            parameter.data = parameter.data.mean() + 0.3 * noise
        elif name.endswith("sinks"):
            parameter.data = noise
        elif name.endswith("A_log"):  # some heads forget within a few tokens, some hardly
            parameter.data = noise - 2
        elif name.endswith("bias"):
            parameter.data = 0.3 * noise
        elif "embed_tokens" in name or "embed_in" in name or "wte" in name or "wpe" in name:
            parameter.data = 0.5 * noise
        elif "mlp.experts" in name and name.endswith("_bias"):
            parameter.data = 0.3 * noise
        elif any(word in name for word in ("c_attn", "c_proj", "c_fc")) or (
                "mlp.experts" in name and family == "gpt_oss"):  # inputs before outputs
            parameter.data = 1.3 * noise / parameter.shape[-2] ** 0.5
        else:
            parameter.data = 1.3 * noise / parameter.shape[-1] ** 0.5
    for name, buffer in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))


def respell_as_published(path):
    whole = json.loads(path.read_text())
    config = whole.get("text_config", whole)
    scaling = config.pop("rope_parameters")
    if config["model_type"] == "gemma3_text":
        config["rope_local_base_freq"] = scaling["sliding_attention"]["rope_theta"]
        config["sliding_window_pattern"] = config.pop("_sliding_window_pattern")
        scaling = scaling["full_attention"]
    partial = scaling.pop("partial_rotary_factor", None)
    if partial is not None and config["model_type"] == "minimax_m2":
        config["rotary_dim"] = int(config["head_dim"] * partial)
    elif config["model_type"] == "gpt_neox":
        config |= {"rotary_pct": partial, "rotary_emb_base": scaling["rope_theta"]}
    elif partial is not None and (partial != 1 or config["model_type"] != "phi3"):
        config["partial_rotary_factor"] = partial
    config["rope_theta"] = scaling.pop("rope_theta")
    kind = scaling.pop("rope_type")
    # Older models say `type`, Llama 3.1, Gemma 3 and later `rope_type`.
    spelling = "rope_type" if kind == "llama3" or config["model_type"] == "gemma3_text" else "type"
    config["rope_scaling"] = None if kind == "default" else {**scaling, spelling: kind}
    whole["torch_dtype"] = whole.pop("dtype")
    config.pop("layer_types", None)
    if config["model_type"] == "gpt_neox":
        del config["rope_theta"]
    if config["model_type"] in ("qwen2", "qwen2_moe") and not config["use_sliding_window"]:
        config["sliding_window"] = 8  # present and without effect while use_sliding_window is false
    if config["model_type"] == "qwen3_moe":
        config["num_experts"] = config.pop("num_local_experts")
    if config["model_type"] == "deepseek_v3":
        for derived in ("head_dim", "qk_head_dim", "rope_interleave"):
            config.pop(derived, None)
        config |= {"scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_layer_freq": 1, "ep_size": 1}
    if config["model_type"] == "glm4_moe":
        config["rope_scaling"] = None
    if config["model_type"] in ("llama", "qwen2", "qwen2_moe", "qwen3_moe", "mistral", "mixtral") and config.get("head_dim") == config["hidden_size"] // config["num_attention_heads"]:
        del config["head_dim"]
    path.write_text(json.dumps(whole, indent=2) + "\n")


def build(family, changes):
    """A model of COMMON with changes."""
    if family == "gemma3":
        text = {**COMMON, "model_type": "gemma3_text", **changes}
        ties = text.pop("tie_word_embeddings") or "tie_word_embeddings" not in changes
        config = AutoConfig.for_model(family, text_config={**text, "tie_word_embeddings": ties}, tie_word_embeddings=ties, **EYES)
        return AutoModelForCausalLM.from_config(config)
    config = AutoConfig.for_model(family, **{**(GPT2 if family == "gpt2" else COMMON), **changes})
    return AutoModelForCausalLM.from_config(config)


def create(folder, name):
    """Writes the model folder."""
    family, spelling, changes = MODELS[name]
    model, generator = build(family, changes), torch.Generator().manual_seed(zlib.crc32(name.encode()))
    config = model.config.get_text_config()
    randomise(model, generator)
    if name.endswith("mxfp4"):
        pack_experts(model, name, generator)
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


def pack_experts(model, name, generator):
    """Gives experts weights that four bits can say."""
    PACKED[name] = {}
    for key, parameter in model.named_parameters():
        if not key.endswith(("experts.gate_up_proj", "experts.down_proj")):
            continue
        experts, inputs, outputs = parameter.shape
        blocks = torch.randint(256, (experts, outputs, inputs // 32, 16), generator=generator, dtype=torch.uint8)
        scales = torch.randint(122, 126, (experts, outputs, inputs // 32), generator=generator, dtype=torch.uint8)
        parameter.data = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32).contiguous()
        PACKED[name] |= {key + "_blocks": blocks, key + "_scales": scales}


def finish(folder, name):
    """What transformers is not shown: the folder as it is published."""
    path, file = folder / "config.json", folder / "model.safetensors"
    if name in ALIASES:
        path.write_text(json.dumps(json.loads(path.read_text()) | ALIASES[name], indent=2) + "\n")
    if name in UNPREFIXED:
        save_file({key.removeprefix("transformer."): tensor for key, tensor in load_file(file).items()}, file,
                  metadata={"format": "pt"})
    if name in PACKED:
        weights = {key: tensor for key, tensor in load_file(file).items() if key + "_blocks" not in PACKED[name]}
        save_file(weights | PACKED[name], file, metadata={"format": "pt"})
        config = json.loads(path.read_text())
        config["quantization_config"] = {
            "quant_method": "mxfp4", "modules_to_not_convert": [
                "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]}
        path.write_text(json.dumps(config, indent=2) + "\n")


def load(folder, kind=AutoModelForCausalLM):
    # The plain loop over experts; the setting is ignored by models without.
    return kind.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").train()


def published(model, tensors, original=True):
    """Something of every parameter of a model in memory, by the names and in the shapes that it is published in."""
    model = type(model)(model.config)  # one that was loaded is saved as it was loaded
    for name, parameter in model.named_parameters():
        parameter.data = tensors[name]
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, save_original_format=original)
        saved = load_file(pathlib.Path(folder) / "model.safetensors")
    return {name: tensor for name, tensor in saved.items() if not name.endswith("e_score_correction_bias")}


def is_left_aside(name):
    return name.startswith(("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."))


def watch_margins(model, margins):
    """Notes by how much routers prefer what they choose."""
    def note(router, inputs, outputs):
        logits, chosen = outputs[0].detach(), outputs[2]
        scores = logits.float()
        if getattr(router, "topk_method", None) == "group_limited_greedy":
            groups = scores.softmax(-1).view(len(scores), router.num_group, -1)
            best = groups.amax(-1)
            order = best.sort(descending=True)
            margins.append((order.values[:, router.topk_group - 1] - order.values[:, router.topk_group]).min().item())
            allowed = torch.zeros_like(best).scatter(1, order.indices[:, :router.topk_group], 1)
            scores = groups.masked_fill(allowed[:, :, None] == 0, -torch.inf).flatten(1)
        elif len(inputs) > 1:
            scores = scores.sigmoid() + inputs[1]
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
        if name.endswith(("mlp.gate", "mlp.router")):
            module.register_forward_hook(note)


def greedy(model, inputs, margins):
    """What a model generates, and by how much the likeliest tokens were likelier than the next."""
    margins.clear()
    with torch.no_grad():
        output = model.generate(**inputs, output_logits=True, return_dict_in_generate=True)
    best = torch.cat(output.logits).topk(2).values
    return output.sequences[0, inputs["input_ids"].shape[1]:], (best[:, 0] - best[:, 1]).min().item()


def generation(fresh, generator):
    """Prompts, and what is generated greedily from them."""
    model = copy.deepcopy(fresh).eval()
    margins = []
    watch_margins(model, margins)
    model.generation_config = GenerationConfig(do_sample=False, max_new_tokens=NEW_TOKENS, pad_token_id=0)
    prompts, generated, gaps = [], [], []
    for length in PROMPT_LENGTHS:
        for attempt in range(400):
            prompt = torch.randint(model.config.get_text_config().vocab_size, (1, length), generator=generator)
            made, gap = greedy(model, {"input_ids": prompt, "attention_mask": torch.ones_like(prompt)}, margins)
            if gap > GREEDY_MARGIN and min(margins, default=1) > ROUTER_MARGIN:
                break
        else:
            raise SystemExit("no prompt has likeliest tokens far above the others")
        prompts.append(prompt[0])
        generated.append(made)
        gaps.append(gap)
    print(f"greedy margins {', '.join(f'{gap:.1e}' for gap in gaps)}")
    return {
        "prompts": torch.cat(prompts), "prompt_cu_seqlens": torch.tensor([0] + PROMPT_LENGTHS).cumsum(0),
        "generated": torch.stack(generated),
    }


def learn(model, logits, tokens, predicted, gradients):
    """Adds what one sequence gives to the gradients of a mean over so many tokens.

    Returns the distributions and log-probabilities of its tokens, and its part of the loss."""
    distribution = torch.log_softmax(logits[:-1], dim=-1)
    chosen = distribution.gather(1, tokens[1:, None])[:, 0]
    share = -chosen.sum() / predicted
    share.backward()
    for name, parameter in model.named_parameters():
        gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
        gradients[name] = gradients.get(name, 0) + gradient
    return distribution.detach(), chosen.detach(), share.item()


def report(folder, loss, gradients):
    print(f"{folder.name}: loss {loss:.4f}, |gradient| {min(g.norm() for g in gradients.values()):.2e} to "
          f"{max(g.norm() for g in gradients.values()):.2e}")


def reference(folder, generator):
    fresh = load(folder)
    margins = []
    lengths = LENGTHS + LONGER.get(folder.name, [])
    watch_margins(fresh, margins)
    for attempt in range(100):
        sequences = [torch.randint(fresh.config.get_text_config().vocab_size, (length,), generator=generator) for length in lengths]
        margins.clear()
        with torch.no_grad():
            for tokens in sequences:
                fresh(tokens[None])
        if min(margins, default=1) > 1e-4:
            break
    margin = min(margins, default=None)
    predicted = sum(lengths) - len(lengths)
    log_probs, entropies, loss, gradients = [], [], 0.0, {}
    for index, tokens in enumerate(sequences):
        model = copy.deepcopy(fresh)
        logits = model(tokens[None]).logits[0]
        distribution, chosen, share = learn(model, logits, tokens, predicted, gradients)
        loss += share
        log_probs.append(chosen)
        entropies.append(-(distribution.exp() * distribution).sum(-1))
        if index == len(LENGTHS) - 2:
            kept = index, logits.detach().clone()
    save_file({
        "tokens": torch.cat(sequences),
        "cu_seqlens": torch.tensor([0] + lengths).cumsum(0),
        "log_probs": torch.cat(log_probs),
        "entropy": torch.cat(entropies),
        "logits_sequence": torch.tensor([kept[0]]),
        "logits": kept[1],
        "loss": torch.tensor([loss]),
        **{f"gradient.{name}": gradient for name, gradient in published(fresh, gradients).items()
           if not is_left_aside(name)},
        **generation(fresh, generator),
    }, folder / "reference.safetensors")
    if margin is not None:
        print(f"{folder.name}: margin {margin:.1e}")
        assert margin > 1e-4, "a router is nearly undecided"
    report(folder, loss, gradients)


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = pathlib.Path("Tests/Fixtures/models")
    for name in sys.argv[1:] or MODELS:
        reference(root / name, create(root / name, name))
        finish(root / name, name)
