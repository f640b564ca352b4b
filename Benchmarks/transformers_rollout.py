"""The other side of `slime bench rollout`: the same requests by `transformers`' generate, as one batch.

    transformers_rollout.py FOLDER REQUESTS.json DEVICE DTYPE     prints seconds and tokens as JSON
"""
import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM

folder, requests, device, dtype = sys.argv[1:]
requests = json.load(open(requests))
start = time.monotonic()
model = AutoModelForCausalLM.from_pretrained(
    folder, dtype="auto" if dtype == "auto" else getattr(torch, dtype), attn_implementation="sdpa").to(device).eval()
loaded = time.monotonic()

longest = max(len(request["tokens"]) for request in requests)
steps = max(request["max_new_tokens"] for request in requests)
tokens = torch.zeros(len(requests), longest, dtype=torch.long)
mask = torch.zeros_like(tokens)
for row, request in enumerate(requests):  # padded on the left, as generate wants it
    tokens[row, longest - len(request["tokens"]):] = torch.tensor(request["tokens"])
    mask[row, longest - len(request["tokens"]):] = 1
tokens, mask = tokens.to(device), mask.to(device)


def generate(count):
    with torch.inference_mode():
        model.generate(
            tokens, attention_mask=mask, max_new_tokens=count, min_new_tokens=count, do_sample=True, temperature=1.0,
            top_k=0, top_p=1.0, pad_token_id=0)
    if device == "cuda":
        torch.cuda.synchronize()


generate(2)
begin = time.monotonic()
generate(steps)
# A batch runs until its longest response is done; only what was asked for counts.
print(json.dumps({
    "seconds": time.monotonic() - begin, "start_seconds": loaded - start,
    "output_tokens": sum(request["max_new_tokens"] for request in requests),
}))
