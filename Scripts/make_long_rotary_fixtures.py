"""Writes Tests/Fixtures/rotary: what transformers makes of sequences longer than a model's original context.

    python Scripts/make_long_rotary_fixtures.py

NAME.json        the fixture in Tests/Fixtures/models whose weights are used ("model"), and what its config.json has besides
                 ("changes")
NAME.safetensors
  tokens           int64 [T]     the sequences one after another: shorter than the original context, as long, longer
  cu_seqlens       int64 [N+1]
  log_probs        fp32 [T-N]    natural log-probability of token i+1 given tokens 0...i
  gradient.WEIGHT  fp32          of -mean of log_probs, by the checkpoint's names

Each sequence is seen by a model of its own: dynamic scaling remembers the longest one.
"""

import copy
import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

ORIGINAL = 12
LENGTHS = [7, ORIGINAL, ORIGINAL + 1, 40]
CASES = {
    "longrope": ("phi3-longrope", {
        "original_max_position_embeddings": ORIGINAL, "max_position_embeddings": 64,
        "rope_scaling": {
            "type": "longrope", "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": ORIGINAL,
            "short_factor": [1.0, 1.1, 1.3, 1.9, 2.5], "long_factor": [1.0, 2.0, 4.0, 8.0, 9.0]}}),
    "dynamic": ("llama-rope-dynamic", {
        "max_position_embeddings": ORIGINAL,
        "rope_scaling": {"type": "dynamic", "rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.5}}),
}


def model_of(name, changes):
    folder = pathlib.Path("Tests/Fixtures/models") / name
    config = json.loads((folder / "config.json").read_text())
    config.pop("rope_parameters", None)
    config.update(changes)
    kind = config.pop("model_type")
    return AutoModelForCausalLM.from_pretrained(
        folder, config=AutoConfig.for_model(kind, **config), dtype=torch.float32, attn_implementation="eager")


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = pathlib.Path("Tests/Fixtures/rotary")
    root.mkdir(exist_ok=True)
    for place, (name, (source, changes)) in enumerate(CASES.items()):
        fresh = model_of(source, changes)
        generator = torch.Generator().manual_seed(place)
        sequences = [torch.randint(fresh.config.vocab_size, (length,), generator=generator) for length in LENGTHS]
        predicted = sum(LENGTHS) - len(LENGTHS)
        log_probs, gradients = [], {}
        for tokens in sequences:
            model = copy.deepcopy(fresh)
            distribution = torch.log_softmax(model(tokens[None]).logits[0, :-1], dim=-1)
            chosen = distribution.gather(1, tokens[1:, None])[:, 0]
            (-chosen.sum() / predicted).backward()
            for weight, parameter in model.named_parameters():
                gradients[weight] = gradients.get(weight, 0) + parameter.grad
            log_probs.append(chosen.detach())
        save_file({
            "tokens": torch.cat(sequences), "cu_seqlens": torch.tensor([0] + LENGTHS).cumsum(0),
            "log_probs": torch.cat(log_probs), **{f"gradient.{weight}": gradient for weight, gradient in gradients.items()},
        }, root / f"{name}.safetensors")
        (root / f"{name}.json").write_text(json.dumps({"model": source, "changes": changes}, indent=2) + "\n")
        plain = AutoModelForCausalLM.from_pretrained(f"Tests/Fixtures/models/{source}", dtype=torch.float32)
        with torch.no_grad():
            short = torch.log_softmax(plain(sequences[-1][None]).logits[0, :-1], -1).gather(1, sequences[-1][1:, None])[:, 0]
        print(f"{name}: longest sequence differs from the unscaled one by {(short - log_probs[-1]).abs().max():.3f}")
