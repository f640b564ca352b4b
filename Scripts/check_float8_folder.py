"""Opens an FP8 model folder (`slime convert --quantization fp8`) with `transformers`, beside the folder that it was made of.

    python3 Scripts/check_float8_folder.py PLAIN FP8

Every weight that the FP8 folder has as e4m3 must be, dequantised by `transformers`, what its own quantiser makes of the plain
one, bit for bit; all others must be equal, and the log-probabilities of both models must be near each other. Without a GPU
`transformers` dequantises when it loads.
"""

import sys
import types

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM
from transformers.integrations.finegrained_fp8 import Fp8Dequantize, Fp8Quantize


def main(plain_path, fp8_path):
    plain = AutoModelForCausalLM.from_pretrained(plain_path, dtype=torch.float32)
    fp8 = AutoModelForCausalLM.from_pretrained(fp8_path, dtype=torch.float32)
    quantizer = types.SimpleNamespace(
        quantization_config=types.SimpleNamespace(weight_block_size=(128, 128), scale_fmt="float"))
    quantized = 0
    with safe_open(f"{plain_path}/model.safetensors", "pt") as before, safe_open(f"{fp8_path}/model.safetensors", "pt") as after:
        names = [name for name in after.keys() if not name.endswith("_scale_inv")]
        assert sorted(names) == sorted(before.keys())
        for name in names:
            old, new = before.get_tensor(name), after.get_tensor(name)
            if new.dtype != torch.float8_e4m3fn:
                assert torch.equal(old, new), name
                continue
            made = Fp8Quantize(quantizer).convert({name: old})
            scales = after.get_tensor(name + "_scale_inv")
            assert torch.equal(made[name].view(torch.uint8), new.view(torch.uint8)), name
            assert torch.equal(made[name + "_scale_inv"], scales), name
            quantized += 1
    state = dict(fp8.named_parameters())
    for name, parameter in plain.named_parameters():
        assert parameter.shape == state[name].shape and state[name].dtype == torch.float32, name
    tokens = torch.randint(plain.config.vocab_size, (1, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        difference = (plain(tokens).logits.log_softmax(-1) - fp8(tokens).logits.log_softmax(-1)).abs()
    print(f"{quantized} of {len(names)} tensors are e4m3; log-probabilities differ by {difference.mean():.4f} on average")
    assert quantized > 0 and 0 < difference.mean() < 0.5
    expected = Fp8Dequantize(quantizer)
    with safe_open(f"{fp8_path}/model.safetensors", "pt") as after:
        checked = 0
        for name, parameter in state.items():
            if name in after.keys() and name + "_scale_inv" in after.keys():
                wanted = expected._dequantize_one(after.get_tensor(name), after.get_tensor(name + "_scale_inv"), torch.float32)
                assert torch.equal(parameter.detach(), wanted), name
                checked += 1
    print(f"{checked} of them are what transformers computes with, bit for bit")


main(*sys.argv[1:])
