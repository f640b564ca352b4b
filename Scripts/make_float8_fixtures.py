"""Writes Tests/Fixtures/float8/: matrices and tiny models in e4m3 with scales, with what PyTorch makes of them.

Needs torch and transformers (CPU). From the repository root: python3 Scripts/make_float8_fixtures.py

matrices.safetensors, for each NAME of CASES:
  NAME.matrix        fp32 [rows, columns]
  NAME.values, .scales   its e4m3 numbers and scales. Where blocks are whole they are those of `transformers`' Fp8Quantize;
                     elsewhere the same arithmetic, block by block
  NAME.fp32, .bf16   dequantised: where blocks are whole by `transformers`' Fp8Dequantize
  NAME.input         fp32 [T, columns]
  NAME.product       fp32 [T, rows]: the input in e4m3, a scale for each row and group of columns, times the matrix, by
                     torch._scaled_mm group by group

Each model folder is a Hugging Face model whose linear weights are e4m3 (not embedding, head, router), and reference.safetensors:
  tokens             int64 [T]
  log_probs          fp32 [T-1]  of token i+1 given tokens 0...i, with the dequantised weights
  float8_log_probs   fp32 [T-1]  with the inputs of the quantised matrices in e4m3 too
"""

import json
import pathlib
import shutil
import types
import zlib

import torch
from safetensors.torch import load_file, save_file
from transformers.integrations.finegrained_fp8 import Fp8Dequantize, Fp8Quantize

from make_model_fixtures import build, load, randomise, rope, watch_margins

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "Tests/Fixtures/float8"
E4M3, LARGEST = torch.float8_e4m3fn, 448.0

# name: (rows, columns, block rows, block columns); None: all of them
CASES = {
    "whole": (48, 64, 16, 32), "odd": (37, 50, 16, 32), "odd128": (130, 140, 128, 128), "small": (5, 7, 128, 128),
    "rows": (33, 40, 1, None), "tensor": (24, 16, None, None),
}


def quantizer(block, scale_fmt="float"):
    return types.SimpleNamespace(quantization_config=types.SimpleNamespace(weight_block_size=block, scale_fmt=scale_fmt))


def quantize(matrix, height, width):
    """e4m3 numbers and one scale a block, [block rows, block columns]."""
    rows, columns = matrix.shape
    if rows % height == 0 and columns % width == 0:
        made = Fp8Quantize(quantizer((height, width))).convert({"m.weight": matrix})
        return made["m.weight"], made["m.weight_scale_inv"]
    values = torch.empty(rows, columns, dtype=E4M3)
    scales = torch.empty(-(-rows // height), -(-columns // width))
    for i in range(scales.shape[0]):
        for j in range(scales.shape[1]):
            place = slice(i * height, (i + 1) * height), slice(j * width, (j + 1) * width)
            part, scale = quantize(matrix[place], *matrix[place].shape)
            values[place], scales[i, j] = part, scale.item()
    return values, scales


def dequantize(values, scales, height, width, dtype):
    rows, columns = values.shape
    if rows % height == 0 and columns % width == 0:
        return Fp8Dequantize(quantizer((height, width)))._dequantize_one(values, scales, dtype)
    result = torch.empty(rows, columns, dtype=dtype)
    for i in range(scales.shape[0]):
        for j in range(scales.shape[1]):
            place = slice(i * height, (i + 1) * height), slice(j * width, (j + 1) * width)
            result[place] = (values[place].float() * scales[i, j]).to(dtype)
    return result


def through_e4m3(x, group):
    """Numbers that went through e4m3, with one scale for each `group` columns of a row."""
    return torch.cat([
        values.float() * scales for values, scales in (quantize(part, 1, part.shape[1]) for part in x.split(group, dim=1))
    ], dim=1)


def scaled_product(x, values, scales, height, width):
    """x · matrixᵀ, by libtorch's own product of e4m3 matrices, whose sizes must be multiples of 16."""
    one = torch.tensor(1.0)
    rows, columns = values.shape
    total = torch.zeros(len(x), rows)
    for j, start in enumerate(range(0, columns, width)):
        part = x[:, start:start + width]
        left, left_scales = quantize(part, 1, part.shape[1])
        right = values[:, start:start + width]
        wide = -(-part.shape[1] // 16) * 16
        a = torch.zeros(len(x), wide, dtype=E4M3)
        b = torch.zeros(-(-rows // 16) * 16, wide, dtype=E4M3)
        a[:, :part.shape[1]], b[:rows, :part.shape[1]] = left, right
        product = torch._scaled_mm(a, b.t(), one, one, out_dtype=torch.float32)[:, :rows]
        total += product * left_scales * scales[:, j].repeat_interleave(height)[None, :rows]
    return total


def matrices():
    tensors = {}
    for name, (rows, columns, height, width) in CASES.items():
        height, width = height or rows, width or columns
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        matrix = torch.randn(rows, columns, generator=generator) * torch.rand(rows, 1, generator=generator) * 3
        if name == "whole":
            matrix[:height, :width] = 0
        matrix[-1, -1] = 1000
        values, scales = quantize(matrix, height, width)
        x = torch.randn(6, columns, generator=generator) * torch.tensor([1, 100, 1e-3, 0, 5, 1e4])[:, None]
        tensors |= {
            f"{name}.matrix": matrix, f"{name}.values": values, f"{name}.scales": scales,
            f"{name}.fp32": dequantize(values, scales, height, width, torch.float32),
            f"{name}.bf16": dequantize(values, scales, height, width, torch.bfloat16),
            f"{name}.input": x, f"{name}.product": scaled_product(x, values, scales, height, width),
        }
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, FIXTURES / "matrices.safetensors")


# name: (family, changes to COMMON, quantization_config)
BLOCK = dict(quant_method="fp8", fmt="e4m3", activation_scheme="dynamic", weight_block_size=[128, 128])
SMALL_BLOCK = {**BLOCK, "weight_block_size": [16, 16]}
COMPRESSED = dict(
    quant_method="compressed-tensors", format="float-quantized", quantization_status="compressed", ignore=["lm_head"],
    config_groups=dict(group_0=dict(
        targets=["Linear"],
        weights=dict(num_bits=8, type="float", strategy="tensor", symmetric=True, dynamic=False),
        input_activations=dict(num_bits=8, type="float", strategy="token", symmetric=True, dynamic=True))))
MODELS = {
    "qwen3-block-128": ("qwen3", dict(
        hidden_size=144, intermediate_size=200, num_hidden_layers=1, num_key_value_heads=2, head_dim=36, vocab_size=61), BLOCK),
    "qwen3-block-16": ("qwen3", dict(
        hidden_size=64, intermediate_size=96, num_key_value_heads=2, head_dim=16, vocab_size=61), SMALL_BLOCK),
    "qwen3-moe-block-16": ("qwen3_moe", dict(
        hidden_size=48, num_key_value_heads=2, head_dim=16, num_hidden_layers=2, num_experts=4, num_experts_per_tok=2,
        moe_intermediate_size=32, norm_topk_prob=True, vocab_size=61, mlp_only_layers=[1], intermediate_size=64),
        {**SMALL_BLOCK, "modules_to_not_convert": ["lm_head", "model.layers.1.mlp"]}),
    "qwen2-tensor": ("qwen2", dict(num_key_value_heads=2, vocab_size=61, use_sliding_window=False), COMPRESSED),
}


def is_quantized(name, config):
    kept = ("embed_tokens", "lm_head", "mlp.gate.", "norm", "bias", *config.get("modules_to_not_convert", []))
    return not any(word in name for word in kept)


def model(name):
    family, changes, quantization = MODELS[name]
    folder = FIXTURES / name
    shutil.rmtree(folder, ignore_errors=True)
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    made = build(family, {**changes, "rope_parameters": rope(1e6)})
    randomise(made, generator)
    made.to(torch.bfloat16).save_pretrained(folder, save_original_format=True)

    file, tensors, plain = folder / "model.safetensors", {}, {}
    for key, tensor in load_file(file).items():
        if not is_quantized(key, quantization):
            tensors[key] = plain[key] = tensor
            continue
        block = quantization.get("weight_block_size") or tensor.shape
        tensors[key], scales = quantize(tensor.float(), *block)
        blocks = "weight_block_size" in quantization
        tensors[key + ("_scale_inv" if blocks else "_scale")] = scales if blocks else scales.reshape(1)
        plain[key] = dequantize(tensors[key], scales, *block, torch.float32)
    save_file(plain, file, metadata={"format": "pt"})
    dequantized = load(folder)
    margins = []
    watch_margins(dequantized, margins)
    tokens = torch.randint(dequantized.config.vocab_size, (40,), generator=generator)

    def log_probs():
        with torch.no_grad():
            distribution = torch.log_softmax(dequantized(tokens[None]).logits[0, :-1], dim=-1)
        return distribution.gather(1, tokens[1:, None])[:, 0]

    reference = {"tokens": tokens, "log_probs": log_probs()}
    group = quantization.get("weight_block_size", [None, 1 << 30])[1]
    storages = {p.untyped_storage().data_ptr() for n, p in dequantized.named_parameters() if is_quantized(n, quantization)}
    plain_linear = torch.nn.functional.linear

    def linear(x, weight, bias=None):
        if weight.untyped_storage().data_ptr() not in storages:
            return plain_linear(x, weight, bias)
        return plain_linear(through_e4m3(x.reshape(-1, x.shape[-1]), group).reshape(x.shape), weight, bias)

    torch.nn.functional.linear = linear
    reference["float8_log_probs"] = log_probs()
    torch.nn.functional.linear = plain_linear
    difference = (reference["log_probs"] - reference["float8_log_probs"]).abs()
    print(name, "difference by e4m3 inputs: mean", difference.mean().item(), "largest", difference.max().item(),
          "margin", min(margins, default=None))
    assert difference.max() > 1e-3 and min(margins, default=1) > 1e-3

    save_file(tensors, file, metadata={"format": "pt"})
    save_file(reference, folder / "reference.safetensors")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["quantization_config"] = quantization
    path.write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    FIXTURES.mkdir(parents=True, exist_ok=True)
    matrices()
    for name in MODELS:
        model(name)
