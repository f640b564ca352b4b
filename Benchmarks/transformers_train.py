"""The other side of `slime bench train`: the same model by `transformers`, sdpa and fused AdamW, weights, gradients and
moments all in one type.

    transformers_train.py FOLDER DEVICE DTYPE SEQUENCES LENGTH STEPS eager|compile     prints seconds a step as JSON
"""
import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM

folder, device, dtype, sequences, length, steps, mode = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), attn_implementation="sdpa").to(device).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.0, fused=True)
torch.manual_seed(1)
tokens = torch.randint(0, model.config.vocab_size, (int(sequences), int(length)), device=device)
run = torch.compile(model) if mode == "compile" else model


def synchronize():
    if device == "cuda":
        torch.cuda.synchronize()


if device == "cuda":
    torch.cuda.reset_peak_memory_stats()
seconds, losses = [], []
for _ in range(int(steps)):
    synchronize()
    start = time.monotonic()
    loss = run(input_ids=tokens, labels=tokens, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    synchronize()
    seconds.append(time.monotonic() - start)
    losses.append(loss.item())
print(json.dumps({
    "seconds": seconds, "losses": losses, "peak_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else None,
}))
