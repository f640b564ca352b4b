"""Writes Tests/Fixtures/training/adamw10/: ten supervised steps of torch.optim.AdamW on a tiny Qwen3, fp32, CPU.

Needs torch and transformers. Run from the repository root: python3 Scripts/make_training_fixtures.py

  model/                    the Hugging Face model before the first step
  reference.safetensors:
    step.K.tokens           int64 [T]    the samples of step K = 0...9, one after another
    step.K.cu_seqlens       int64 [N+1]  sample s is tokens[cu_seqlens[s] : cu_seqlens[s+1]]
    step.K.loss_mask        int64 [T]    1 where the token is trained, that is: predicted from the tokens before it. The
                                         first token of a sample is always 0. One sample of step 3 is 0 everywhere: it
                                         adds 0 to the loss and still counts in the batch size
    learning_rate           fp64 [10]    what the optimizer used in step K (linear warmup, then linear decay)
    loss                    fp32 [10]    (1/N) * sum over samples of the mean of -log p over the sample's trained tokens
    gradient_norm           fp32 [10]    L2 norm over all gradients, before clipping
    weight.<name>           fp32         the weights after step 9

AdamW: betas (0.9, 0.95), eps 1e-8, weight decay 0.1 on every parameter (norms and embeddings too), gradients clipped to
an L2 norm of 1.0 with torch.nn.utils.clip_grad_norm_. The same run in fp64 is printed beside it: how far the fp32
reference itself is from exact arithmetic.
"""

import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

from make_model_fixtures import COMMON, randomise, rope

STEPS, BATCH = 10, 6
LEARNING_RATE = [2e-3 * rate for rate in (0.25, 0.5, 0.75, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)]


def make_batches(vocabulary, generator):
    batches = []
    for step in range(STEPS):
        lengths = torch.randint(3, 22, (BATCH,), generator=generator).tolist()
        tokens = [torch.randint(vocabulary, (length,), generator=generator) for length in lengths]
        masks = []
        for sample, length in enumerate(lengths):
            mask = torch.zeros(length, dtype=torch.int64)
            if not (step == 3 and sample == 1):
                start = int(torch.randint(1, length, (1,), generator=generator))
                mask[start:] = 1
                if sample % 3 == 2 and length - start > 2:
                    mask[start + 1] = 0  # a hole, as a tool's output makes in a conversation
            masks.append(mask)
        batches.append((lengths, tokens, masks))
    return batches


def train(folder, batches, dtype):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    losses, norms = [], []
    for step, (lengths, tokens, masks) in enumerate(batches):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE[step]
        optimizer.zero_grad()
        loss = torch.zeros((), dtype=dtype)
        for sample, mask in zip(tokens, masks):
            distribution = torch.log_softmax(model(sample[None]).logits[0, :-1], dim=-1)
            nll = -distribution.gather(1, sample[1:, None])[:, 0]
            loss = loss + (nll * mask[1:]).sum() / mask.sum().clamp(min=1) / BATCH
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
        optimizer.step()
        losses.append(loss.item())
    return losses, norms, {name: parameter.detach() for name, parameter in model.named_parameters()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = pathlib.Path("Tests/Fixtures/training/adamw10")
    shutil.rmtree(folder, ignore_errors=True)
    generator = torch.Generator().manual_seed(10)
    model = Qwen3ForCausalLM(Qwen3Config(**{
        **COMMON, "num_key_value_heads": 2, "head_dim": 10, "tie_word_embeddings": True, "rope_parameters": rope(1e6)}))
    randomise(model, generator)
    model.model.norm.weight.data *= 0.08  # gradient norms on both sides of the clipping threshold
    model.save_pretrained(folder / "model")
    batches = make_batches(model.config.vocab_size, generator)
    losses, norms, weights = train(folder / "model", batches, torch.float32)
    exact_losses, exact_norms, exact = train(folder / "model", batches, torch.float64)
    tensors = {
        "learning_rate": torch.tensor(LEARNING_RATE, dtype=torch.float64),
        "loss": torch.tensor(losses),
        "gradient_norm": torch.tensor(norms),
        **{f"weight.{name}": weight for name, weight in weights.items()},
    }
    for step, (lengths, tokens, masks) in enumerate(batches):
        tensors[f"step.{step}.tokens"] = torch.cat(tokens)
        tensors[f"step.{step}.cu_seqlens"] = torch.tensor([0] + lengths).cumsum(0)
        tensors[f"step.{step}.loss_mask"] = torch.cat(masks)
    save_file(tensors, folder / "reference.safetensors")
    for step in range(STEPS):
        print(f"step {step}: loss {losses[step]:.6f} (fp64 {exact_losses[step]:.6f}), "
              f"gradient norm {norms[step]:.6f} (fp64 {exact_norms[step]:.6f})")
    start = dict(model.named_parameters())
    for name, weight in weights.items():
        print(f"{name}: moved {(weight - start[name]).norm() / start[name].norm():.1e} relative, "
              f"fp32 off by {(weight - exact[name]).norm() / weight.norm():.1e} relative, "
              f"{(weight - exact[name]).abs().max():.1e} at most")
