"""Writes Tests/Fixtures/prediction/<name>/: tiny models with prediction layers, and what PyTorch says of their training.

Needs torch and transformers (fp32, CPU). From the repository root: python3 Scripts/make_prediction_fixtures.py [NAME ...]

  model/                  a Hugging Face model: `mimo` with two layers (the second reads what the first made), `deepseek` with
                          one, which is a mixture of experts, `qwen3-next` with one after layers of gated delta rule
  reference.safetensors:
    tokens                int64 [T]    samples one after another
    cu_seqlens            int64 [N+1]  sample s is tokens[cu_seqlens[s] : cu_seqlens[s+1]]
    response_lengths      int64 [N]    the last so many of its tokens are its response
    loss_mask             int64        of all response tokens; 1: trained
    loss                  fp32 [K]     of layer k the mean of -log p over all trained response tokens that have at least
                                       k + 2 tokens before them; p is what the layer makes of the model's output at token i
                                       and the embedding of token i + 1 + k for token i + 2 + k
    gradient.<name>       fp32         d (sum of the losses * 0.2 / K) / d weight, by the names of the checkpoint

Each sample is run alone. Output, embedding and head are constants: nothing but the layers has a gradient.
"""

import pathlib
import shutil
import sys
import zlib

import torch
from safetensors.torch import save_file

from make_draft_fixtures import MiMo, NextN, QwenNext, add_layers, create_model

# Base, kind of layer, how many of them, layers of the model.
MODELS = {
    "mimo": ("mimo", MiMo, 2, 2), "deepseek": ("deepseek-v3", NextN, 1, 2), "qwen3-next": ("qwen3-next", QwenNext, 1, 4)}
# Tokens of each sample, and of its response.
LENGTHS = [(2, 1), (3, 2), (9, 8), (20, 9), (5, 2), (14, 3), (27, 26), (8, 4)]
SCALE = 0.2


def losses(heads, samples):
    model, sums, counts = heads[0].model, [0.0] * len(heads), [0] * len(heads)
    for tokens, mask in samples:
        with torch.no_grad():
            hidden = heads[0].features(model(tokens[None], output_hidden_states=True))[0]
        for k, head in enumerate(heads):
            following = torch.cat([tokens[k + 1:], torch.zeros(min(k + 1, len(tokens)), dtype=torch.int64)])
            hidden = head(following, hidden)
            distribution = torch.log_softmax(hidden @ model.lm_head.weight.detach().T, -1)
            for place in range(len(tokens) - k - 2):
                if mask[place + k + 2]:
                    sums[k] = sums[k] - distribution[place, tokens[place + k + 2]]
                    counts[k] += 1
    return [total / count for total, count in zip(sums, counts)]


def write(root, name):
    base, kind, count, layers = MODELS[name]
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    shutil.rmtree(root, ignore_errors=True)
    model = create_model(root / "model", base, 0.5, generator, layers)
    heads = [kind(model, generator, 0.5, number) for number in range(count)]
    add_layers(root / "model", base, heads)
    samples = []
    for length, response in LENGTHS:
        mask = torch.zeros(length, dtype=torch.int64)
        mask[length - response:] = (torch.rand(response, generator=generator) > 0.2).to(torch.int64)
        samples.append((torch.randint(model.config.vocab_size, (length,), generator=generator), mask))
    for head in heads:
        for value in head.own().values():
            value.requires_grad = True
    found = losses(heads, samples)
    (sum(found) * SCALE / count).backward()
    tensors = {
        "tokens": torch.cat([tokens for tokens, _ in samples]),
        "cu_seqlens": torch.tensor([0] + [length for length, _ in LENGTHS]).cumsum(0),
        "response_lengths": torch.tensor([response for _, response in LENGTHS]),
        "loss_mask": torch.cat([mask[length - response:] for (_, mask), (length, response) in zip(samples, LENGTHS)]),
        "loss": torch.stack(found).detach(),
    }
    for head in heads:
        gradients = {f"{own}.weight": value.grad for own, value in head.own().items()}
        gradients |= {own: value.grad for own, value in head.layer.named_parameters()}
        tensors |= {f"gradient.{key}": value for key, value in head.separated(gradients).items()}
    assert all(parameter.grad is None for parameter in model.parameters())
    save_file(tensors, root / "reference.safetensors")
    print(f"{name}: losses {[round(loss.item(), 4) for loss in found]}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or MODELS:
        write(pathlib.Path("Tests/Fixtures/prediction") / name, name)
