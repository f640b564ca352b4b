"""Writes Tests/Fixtures/schedule/learning_rates.json: learning rates by the published formulas.

An independent transcription of the schedules that Megatron's OptimizerParamScheduler computes (linear warmup; constant,
linear, cosine, inverse-square-root and warmup-stable-decay afterwards), with exact fractions where they are rational.
Where torch has a scheduler of the same shape, its values are asserted equal first.
"""

import json
import math
from fractions import Fraction
from pathlib import Path

import torch


def rate(style, step, *, init, peak, low, warmup, end, wsd=None, anneal=None):
    if warmup and step <= warmup:
        return float(Fraction(init) + (Fraction(peak) - Fraction(init)) * Fraction(step, warmup))
    if style == "constant":
        return peak
    if step > end:
        return low
    if style == "inverse-square-root":
        return max(low, peak * math.sqrt(Fraction(max(warmup, 1), max(step, 1))))
    x = Fraction(step - warmup, end - warmup)
    if style == "WSD":
        x = Fraction(max(step - (end - wsd), 0), wsd)
        style = anneal
    height = {
        "linear": lambda: 1 - x,
        "cosine": lambda: math.cos(math.pi * x / 2) ** 2,  # = (1 + cos(pi x)) / 2
        "exponential": lambda: 2 ** (1 - float(x)) - 1,
        "minus_sqrt": lambda: 1 - math.sqrt(x),
    }[style]()
    return low + (peak - low) * float(height)


def check_against_torch():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=1e-4)
    for step in range(51):
        mine = rate("cosine", step, init=0, peak=1e-3, low=1e-4, warmup=0, end=50)
        assert abs(mine - optimizer.param_groups[0]["lr"]) < 1e-9, step
        optimizer.step()
        cosine.step()


def main():
    check_against_torch()
    cases = []
    base = dict(init=1e-7, peak=1e-3, low=1e-5, warmup=10, end=100)
    for style in ("constant", "linear", "cosine", "inverse-square-root"):
        cases.append((style, dict(base)))
        cases.append((style, dict(base, warmup=0, init=0.0)))
    for anneal in ("linear", "cosine", "exponential", "minus_sqrt"):
        cases.append(("WSD", dict(base, wsd=40, anneal=anneal)))
        cases.append(("WSD", dict(base, wsd=90, anneal=anneal)))
    steps = [0, 1, 5, 9, 10, 11, 37, 59, 60, 61, 80, 99, 100, 101, 500]
    rows = [
        {"style": style, **settings, "steps": steps, "rates": [rate(style, s, **settings) for s in steps]}
        for style, settings in cases
    ]
    path = Path(__file__).parent.parent / "Tests/Fixtures/schedule/learning_rates.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


main()
