"""Random models and rollouts for the checks of this folder, made on the GPU machine with torch and transformers."""
import json
import random
import subprocess
import sys
from pathlib import Path

COMMON = dict(
    rms_norm_eps=1e-6, rope_theta=1e6, hidden_act="silu", max_position_embeddings=40960, attention_bias=False,
    torch_dtype="bfloat16", bos_token_id=0, eos_token_id=1)


def dense(hidden, layers, heads, key_value_heads, intermediate, vocabulary, head_dim=128, tied=True, kind="qwen3", **more):
    architecture = {"qwen3": "Qwen3", "llama": "Llama", "qwen3_moe": "Qwen3Moe", "gemma2": "Gemma2"}[kind] + "ForCausalLM"
    return dict(
        COMMON, architectures=[architecture], model_type=kind, hidden_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=key_value_heads, intermediate_size=intermediate, vocab_size=vocabulary,
        head_dim=head_dim, tie_word_embeddings=tied, **more)


def mixture(hidden, layers, experts, width):
    return dense(
        hidden, layers, 16, 4, 3072, 32000, 64, False, "qwen3_moe", num_experts=experts, num_experts_per_tok=4,
        moe_intermediate_size=width, decoder_sparse_step=1, mlp_only_layers=[], norm_topk_prob=True,
        output_router_logits=False, router_aux_loss_coef=0.0)


MODELS = {
    "qwen3-0.6b": dense(1024, 28, 16, 8, 3072, 151936),
    "qwen3-4b": dense(2560, 36, 32, 8, 9728, 151936),
    "llama-1.1b": dense(2048, 22, 32, 4, 5632, 32000, 64, False, "llama", mlp_bias=False),
    "moe-0.5b": mixture(1024, 12, 32, 384),
    "dense-small": dense(1024, 8, 16, 8, 3072, 32000),
    "moe-small": mixture(1024, 8, 16, 512),
    "gemma2-small": dense(
        1024, 8, 8, 4, 3072, 32000, kind="gemma2", attn_logit_softcapping=20.0, final_logit_softcapping=30.0,
        sliding_window=512, query_pre_attn_scalar=128, hidden_activation="gelu_pytorch_tanh"),
    "tiny": dense(64, 2, 4, 2, 128, 256, 16),
}


def make(name, room):
    """The folder of a model, written if it is not there: by another process, so that this one takes no memory of a GPU."""
    folder = Path(room) / name
    if (folder / "model.safetensors.index.json").exists() or (folder / "model.safetensors").exists():
        return folder
    subprocess.run([sys.executable, __file__, name, folder], check=True, stderr=subprocess.DEVNULL)
    return folder


def write(name, folder):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    config = json.dumps(MODELS[name])
    (folder / "config.json").write_text(config)
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.bfloat16)
    model.save_pretrained(folder)
    (folder / "config.json").write_text(config)


def rollouts(folder, vocabulary, shortest, longest, samples, count):
    """Files of debug rollout data: r-0.jsonl and on."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = random.Random(1)
    for rollout in range(count):
        lines = []
        for index in range(samples):
            length = numbers.randint(shortest, longest)
            lines.append(json.dumps(dict(
                tokens=[numbers.randrange(2, vocabulary) for _ in range(length)], response_length=length // 2,
                group_index=index // 4, reward=numbers.random())))
        (folder / f"r-{rollout}.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "r-{rollout_id}.jsonl"


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
