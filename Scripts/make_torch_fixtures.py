"""Writes Tests/Fixtures/torch: what PyTorch computes for the tests of the Torch room.

    python3 Scripts/make_torch_fixtures.py
"""

import json
import pathlib

import torch

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "Tests/Fixtures/torch"


def bits(tensor):
    integer = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[tensor.element_size()]
    return tensor.contiguous().view(integer).flatten().tolist()


def conversions():
    """fp32 values and their bits in the narrower types: ordinary ones, ties, subnormals, overflow, zeros."""
    generator = torch.Generator().manual_seed(1)
    scales = 2.0 ** torch.randint(-30, 20, (200,), generator=generator)
    special = [0.0, -0.0, 1.0, -1.5, 448.0, 449.0, 464.0, 480.0, 57344.0, 61440.0, 65504.0, 65519.0, 65520.0, 2.0**-9, 2.0**-10,
               3 * 2.0**-10, 2.0**-16, 2.0**-17, 6e-8, 1e-40, 3.4e38, float("inf"), 1.00390625, 1.01171875, 1.0625, 1.1875]
    values = torch.cat([torch.randn(200, generator=generator) * scales, torch.tensor(special), -torch.tensor(special)])
    types = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float8_e4m3fn": torch.float8_e4m3fn,
             "float8_e5m2": torch.float8_e5m2}
    return {
        "values": bits(values),
        "narrow": {name: bits(values.to(kind)) for name, kind in types.items()},
        "widened": {name: [None if v != v else v for v in bits_or_nan(values.to(kind))] for name, kind in types.items()},
    }


def bits_or_nan(narrow):
    wide = narrow.float()
    return [float("nan") if wide[i].isnan() else bit for i, bit in enumerate(bits(wide))]


def random_numbers():
    def fresh():
        return torch.Generator().manual_seed(1234)

    generator = fresh()
    first, second = torch.rand(3, generator=generator), torch.rand(3, generator=generator)
    return {
        "rand": bits(first), "randAfterwards": bits(second),
        "randn": bits(torch.randn(20, generator=fresh())),
        "randint": torch.randint(-5, 100, (10,), generator=fresh()).tolist(),
        "randperm": torch.randperm(10, generator=fresh()).tolist(),
        "uniform": bits(torch.zeros(4).uniform_(-2, 3, generator=fresh())),
        "multinomial": torch.multinomial(torch.tensor([0.1, 0.2, 0.3, 0.4]), 6, True, generator=fresh()).tolist(),
    }


def adamw():
    """Six steps on three parameters; the second has no gradient in the third step."""
    generator = torch.Generator().manual_seed(2)
    shapes = [[3, 4], [5], [2, 2, 2]]
    parameters = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    options = {"beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "weightDecay": 0.1}
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, foreach=False)
    result = {"shapes": shapes, "options": options, "start": [p.detach().flatten().tolist() for p in parameters], "steps": []}
    for step in range(6):
        rate = 0.01 * (step + 1)
        gradients = [torch.randn(shape, generator=generator) for shape in shapes]
        if step == 2:
            gradients[1] = None
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = gradient
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        result["steps"].append({
            "learningRate": rate,
            "gradients": [None if g is None else g.flatten().tolist() for g in gradients],
            "parameters": [p.detach().flatten().tolist() for p in parameters],
        })
    return result


FOLDER.mkdir(parents=True, exist_ok=True)
for name, content in [("conversions", conversions()), ("random", random_numbers()), ("adamw", adamw())]:
    (FOLDER / f"{name}.json").write_text(json.dumps(content) + "\n")
