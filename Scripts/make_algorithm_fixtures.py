"""Writes Tests/Fixtures/algorithms.json: advantages, whitening, KL estimators, policy losses and their gradients.

Computed from the published formulas (Schulman 2020 for KL, PPO, dual clip, GSPO, CISPO, REINFORCE++) in float64, sample by
sample; returns are sums over the future, not a recursion; gradients are PyTorch's.
"""

import json
from pathlib import Path

import torch

torch.manual_seed(7)
torch.set_default_dtype(torch.float64)

# Ragged: nothing, one token, tool tokens in the middle, at the end, at the start, nothing to learn from, nothing at the end.
MASKS = [
    [1, 1, 1, 1, 1],
    [],
    [1],
    [1, 1, 0, 0, 1, 1, 0],
    [0, 0, 1],
    [0, 0, 0, 0],
    [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1],
    [],
]
LENGTHS = [len(mask) for mask in MASKS]
REWARDS = [1.25, -0.5, 0.75, -1.0, 2.0, 3.0, -0.25, 0.5]
FLAT = torch.tensor(sum(MASKS, []))


def tokens(scale=1.0, shift=0.0):
    """One value a token, of a few decimals, so that its text is exact enough for float32."""
    return (torch.randn(len(FLAT)) * scale + shift).mul(1e4).round().div(1e4)


def per_sample(*columns):
    return zip(*(column.split(LENGTHS) for column in columns))


def numbers(tensor):
    return [float(f"{x:.9g}") for x in tensor.detach().flatten().tolist()]


def ints(tensor):
    return [int(x) for x in tensor.flatten().tolist()]


def advantages(kind, kl, coefficient, discount):
    result = []
    for reward, (mask, divergence) in zip(REWARDS, per_sample(FLAT, kl)):
        length = len(mask)
        if kind in ("grpo", "gspo", "cispo"):
            result.append(torch.full((length,), reward))
        elif kind == "reinforce_plus_plus_baseline":
            result.append(reward - coefficient * divergence)
        else:
            token_rewards = -coefficient * divergence * mask
            trained = mask.nonzero().flatten()
            if len(trained):
                token_rewards[trained[-1]] += reward
            powers = discount ** torch.arange(length)
            result.append(torch.tensor([(powers[: length - t] * token_rewards[t:]).sum() for t in range(length)]))
    return torch.cat(result)


def advantage_cases():
    kl = tokens(0.3)
    cases = []
    for kind in ("grpo", "gspo", "cispo", "reinforce_plus_plus", "reinforce_plus_plus_baseline"):
        for coefficient, discount in ((0.0, 1.0), (0.1, 1.0), (0.1, 0.9)):
            values = advantages(kind, kl, coefficient, discount)
            cases.append(dict(estimator=kind, klCoefficient=coefficient, discount=discount, expected=numbers(values)))
    return dict(rewards=REWARDS, kl=numbers(kl), cases=cases)


def whitening():
    values = tokens(2.0, 5.0)
    chosen = values[FLAT == 1]
    expected = (values - chosen.mean()) / torch.sqrt(chosen.var(unbiased=True) + 1e-8)
    return dict(values=numbers(values), expected=numbers(expected))


def kl_cases():
    policy, reference = tokens(1.0, -2.0), tokens(1.0, -2.0)
    reference[3], policy[3] = -0.5, -12.5  # k3 far beyond its clamp
    policy[7] = reference[7]  # no divergence at all
    weights = tokens()
    cases = []
    for kind in ("k1", "k2", "k3", "low_var_kl"):
        lp = policy.clone().requires_grad_()
        d = lp - reference
        value = {
            "k1": lambda: d,
            "k2": lambda: d**2 / 2,
            "k3": lambda: torch.expm1(-d) + d,
            "low_var_kl": lambda: (torch.expm1(-d) + d).clamp(-10, 10),
        }[kind]()
        (value * weights).sum().backward()
        cases.append(dict(kind=kind, expected=numbers(value), gradient=numbers(lp.grad)))
    return dict(logProbs=numbers(policy), reference=numbers(reference), weights=numbers(weights), cases=cases)


def policy_case(kind, low, high, dual, lp, old, adv, weights):
    lp = lp.clone().requires_grad_()
    losses, fractions, divergences = [], [], []
    for new, before, a, mask in per_sample(lp, old, adv, FLAT):
        kl = before - new
        if kind == "gspo":
            kl = ((kl * mask).sum() / mask.sum().clamp(min=1)).expand(len(mask))
        ratio = torch.exp(-kl)
        inside = ratio.clamp(1 - low, 1 + high)
        assert not len(mask) or ((ratio - 1 + low).abs().min() > 1e-5 and (ratio - 1 - high).abs().min() > 1e-5)
        if kind == "cispo":
            loss, fraction = -inside.detach() * a * new, (inside != ratio)
        else:
            surrogate = -ratio * a
            loss, fraction = torch.maximum(surrogate, -inside * a), (-inside * a > surrogate)
            if dual is not None:
                loss = torch.where(a < 0, torch.minimum(-dual * a, loss), loss)
        losses.append(loss)
        fractions.append(fraction)
        divergences.append(kl)
    loss = torch.cat(losses)
    (loss * weights).sum().backward()
    return dict(
        estimator=kind, clipLow=low, clipHigh=high, clipDual=dual, loss=numbers(loss),
        clipFraction=ints(torch.cat(fractions)), kl=numbers(torch.cat(divergences)), gradient=numbers(lp.grad))


def policy_cases():
    lp, adv, weights = tokens(1.0, -2.0), tokens(), tokens().abs() * FLAT
    old = lp + tokens(0.4)
    old[4], adv[4] = lp[4] - 2.5, -1.5  # a ratio of 12 with a negative advantage: dual clip's case
    old[9], adv[9] = lp[9] - 1.75, -0.5
    common = (lp, old, adv, weights)
    cases = [
        policy_case("grpo", 0.2, 0.2, None, *common),
        policy_case("grpo", 0.2, 0.28, 3.0, *common),
        policy_case("reinforce_plus_plus", 0.1, 0.3, 1.5, *common),
        policy_case("reinforce_plus_plus_baseline", 0.2, 0.2, None, *common),
        policy_case("gspo", 0.2, 0.2, None, *common),
        policy_case("gspo", 3e-4, 4e-4, 2.0, *common),
        policy_case("cispo", 1.0, 0.5, None, *common),
        policy_case("cispo", 0.2, 0.28, None, *common),
    ]
    return dict(
        logProbs=numbers(lp), old=numbers(old), advantages=numbers(adv), weights=numbers(weights), cases=cases)


def importance():
    train, rollout = tokens(1.0, -2.0), tokens(1.0, -2.0)
    raw = torch.exp(train - rollout)
    cases = [dict(low=low, high=high, clamped=numbers(raw.clamp(low, high))) for low, high in ((0, 2), (0.5, 1.25))]
    return dict(train=numbers(train), rollout=numbers(rollout), raw=numbers(raw), cases=cases)


def main():
    fixture = dict(
        responseLengths=LENGTHS, masks=ints(FLAT), advantages=advantage_cases(), whitening=whitening(), kl=kl_cases(),
        policy=policy_cases(), importance=importance())
    path = Path(__file__).parent.parent / "Tests/Fixtures/algorithms.json"
    path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")


main()
