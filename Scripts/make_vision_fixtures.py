"""Writes Tests/Fixtures/vision/<name>/: tiny random models that see pictures, with what `transformers` computes from them.

Needs torch, torchvision and transformers (fp32, CPU). From the repository root:
python3 Scripts/make_vision_fixtures.py [NAME ...]

As Scripts/make_model_fixtures.py, which see for the names, with pictures in `reference.safetensors`:

  patches          fp32 [P, 96]    of all pictures, in the order of their tokens
  grids            int64 [I, 3]    patches of each in time, height and width
  image_counts     int64 [N]       pictures of each sequence
  positions        int64 [3, T]    in time, height and width
  prompts, prompt_cu_seqlens, prompt_image_counts, prompt_patches, prompt_grids, generated     what `generate` makes greedily
"""

import copy
import json
import pathlib
import shutil
import sys
import zlib

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageTextToText, GenerationConfig, Qwen2VLImageProcessor

from make_model_fixtures import (
    GREEDY_MARGIN, greedy, learn, load, published, randomise, report, rope, watch_margins)

IMAGE, NEW_TOKENS = 90, 24
TEXT = dict(
    vocab_size=97, hidden_size=32, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=512, rms_norm_eps=1e-6, hidden_act="silu", bos_token_id=1, eos_token_id=2, pad_token_id=None)
VISION = dict(depth=3, hidden_size=16, intermediate_size=20, num_heads=2, patch_size=4, temporal_patch_size=2,
              spatial_merge_size=2, in_channels=3, out_hidden_size=32)
SPECIAL = dict(image_token_id=IMAGE, video_token_id=91, vision_start_token_id=92, vision_end_token_id=93)
EXPERTS = dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=8, decoder_sparse_step=1, mlp_only_layers=[])
LINEAR = dict(linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=10, linear_value_head_dim=6)


def partial(theta, factor, section):
    return rope(theta, partial_rotary_factor=factor, mrope_section=section, mrope_interleaved=True)


# name: (family, spelling of config.json, changes to TEXT, to VISION, and besides)
MODELS = {
    "qwen2.5-vl": ("qwen2_5_vl", "published", dict(rope_parameters=rope(1e6, mrope_section=[1, 1, 2])),
                   dict(window_size=16, fullatt_block_indexes=[1]), {}),
    "qwen2.5-vl-tied": ("qwen2_5_vl", "v5", dict(num_attention_heads=2, num_key_value_heads=1,
                                                 rope_parameters=rope(1e4, mrope_section=[2, 3, 3])),
                        dict(window_size=24, fullatt_block_indexes=[0, 2], num_heads=4), dict(tie_word_embeddings=True)),
    "qwen3-vl": ("qwen3_vl", "published", dict(head_dim=16, rope_parameters=rope(5e6, mrope_section=[4, 2, 2])),
                 dict(num_position_embeddings=25, deepstack_visual_indexes=[0, 2]), {}),
    "qwen3-vl-tied": ("qwen3_vl", "v5", dict(head_dim=8, attention_bias=True, rope_parameters=rope(1e4, mrope_section=[2, 1, 1])),
                      dict(num_position_embeddings=9, deepstack_visual_indexes=[1]), dict(tie_word_embeddings=True)),
    "qwen3-vl-moe": ("qwen3_vl_moe", "published", dict(head_dim=16, rope_parameters=rope(5e6, mrope_section=[3, 3, 2]), **EXPERTS),
                     dict(num_position_embeddings=16, deepstack_visual_indexes=[0, 1]), {}),
    "qwen3-vl-moe-stacked": ("qwen3_vl_moe", "v5", dict(
        num_hidden_layers=2, head_dim=8, rope_parameters=rope(1e5, mrope_section=[2, 1, 1]), **EXPERTS),
        dict(num_position_embeddings=4, deepstack_visual_indexes=[2]), {}),
    "qwen3.5": ("qwen3_5", "published", dict(
        num_hidden_layers=4, head_dim=16, rope_parameters=partial(1e7, 0.5, [2, 1, 1]), **LINEAR),
        dict(num_position_embeddings=25), {}),
    "qwen3.5-3-heads-tied": ("qwen3_5", "v5", dict(
        num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1, head_dim=12, attention_bias=True,
        layer_types=["full_attention", "linear_attention"], rope_parameters=partial(1e4, 0.5, [1, 1, 1]),
        linear_num_key_heads=1, linear_num_value_heads=3, linear_key_head_dim=7, linear_value_head_dim=5,
        linear_conv_kernel_dim=2), dict(depth=2, num_heads=4, num_position_embeddings=9), dict(tie_word_embeddings=True)),
    "qwen3.5-moe": ("qwen3_5_moe", "published", dict(
        head_dim=24, layer_types=["linear_attention", "full_attention", "linear_attention"],
        rope_parameters=partial(1e7, 0.25, [1, 1, 1]), **LINEAR, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=8,
        shared_expert_intermediate_size=12), dict(depth=2, num_position_embeddings=16), {}),
    # The experts each by themselves, as transformers saves them.
    "qwen3.5-moe-1-expert-tied": ("qwen3_5_moe", "v5", dict(
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, head_dim=8,
        layer_types=["linear_attention", "full_attention"], rope_parameters=partial(1e5, 1.0, [2, 1, 1]),
        linear_num_key_heads=2, linear_num_value_heads=2, linear_key_head_dim=4, linear_value_head_dim=5, num_experts=3,
        num_experts_per_tok=1, moe_intermediate_size=7, shared_expert_intermediate_size=5),
        dict(depth=2, num_position_embeddings=4), dict(tie_word_embeddings=True)),
}
# Of Qwen3.5 the layers that predict tokens further on, which the model does not have.
EXTRA = {"qwen3.5": {"mtp.fc.weight": torch.zeros(4, 8)}, "qwen3.5-moe": {"mtp.layers.0.mlp.experts.down_proj": torch.zeros(2, 4, 3)}}
# Grids of the pictures in each sequence, and tokens of text before, between and after them.
SEQUENCES = [([], [9]), ([(1, 4, 6)], [3, 5]), ([(1, 10, 4), (1, 2, 2)], [0, 2, 7]), ([(1, 6, 14)], [2, 1])]
# Pictures of Tests/Fixtures/images.
PROMPTS = [(["01-rgb.jpeg"], [4, 3]), (["04-grey.jpeg", "10-lossless.webp"], [1, 3, 6])]


def respell_as_published(path):
    config = json.loads(path.read_text())
    text = config["text_config"]
    if config["model_type"].startswith("qwen3_5"):
        text |= {"dtype": config.pop("dtype"), "full_attention_interval": 4, "attn_output_gate": True,
                 "mamba_ssm_dtype": "float32", "mtp_num_hidden_layers": 1, "mtp_use_dedicated_embeddings": False}
        config["vision_config"].pop("rope_parameters")
        config["vision_config"] |= {"model_type": config["model_type"], "deepstack_visual_indexes": []}
        path.write_text(json.dumps(config, indent=2) + "\n")
        return
    parameters = text.pop("rope_parameters")
    text["rope_theta"] = parameters.pop("rope_theta")
    kind = parameters.pop("rope_type")
    is_2_5 = config["model_type"] == "qwen2_5_vl"
    text["rope_scaling"] = {**parameters, **({"type": "mrope"} if is_2_5 else {"rope_type": kind, "mrope_interleaved": True})}
    text.pop("layer_types", None)
    config["vision_config"].pop("rope_parameters")
    if is_2_5:  # text among the rest
        del config["text_config"], text["model_type"]
        config = {**text, **config}
        config["vision_config"]["in_chans"] = config["vision_config"].pop("in_channels")
    else:
        text["num_experts"] = text.pop("num_local_experts", None) or text.pop("num_experts", None)
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2) + "\n")


def create(folder, name):
    family, spelling, text, vision, more = MODELS[name]
    config = AutoConfig.for_model(
        family, text_config={**TEXT, **text}, vision_config={**VISION, **vision}, **SPECIAL, **more)
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    model = AutoModelForImageTextToText.from_config(config)
    model.config.model_type = family
    randomise(model, generator)
    for key, parameter in model.named_parameters():
        if "patch_embed.proj.weight" in key:
            parameter.data = torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5
        if "pos_embed" in key:
            parameter.data = 0.5 * torch.randn(parameter.shape, generator=generator)
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, do_sample=True, temperature=0.6)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, save_original_format=is_published_original(family) == (spelling == "published"))
    if spelling == "published":
        respell_as_published(folder / "config.json")
        file = folder / "model.safetensors"
        save_file({**respelled(family, load_file(file)), **EXTRA.get(name, {})}, file, metadata={"format": "pt"})
    (folder / "prompt_images.json").write_text(json.dumps([names for names, _ in PROMPTS]) + "\n")
    (folder / "preprocessor_config.json").write_text(json.dumps({
        "image_processor_type": "Qwen2VLImageProcessor", "patch_size": 4, "merge_size": 2, "temporal_patch_size": 2,
        "size": {"shortest_edge": 64, "longest_edge": 1024}}, indent=2) + "\n")
    return generator


def sample(grids, texts, generator, patches=None):
    """What a model is given of one sequence; patches are random where none are given."""
    tokens = [torch.randint(IMAGE, (texts[0],), generator=generator)]
    for (t, h, w), count in zip(grids, texts[1:]):
        tokens += [torch.full((t * h * w // 4,), IMAGE), torch.randint(IMAGE, (count,), generator=generator)]
    tokens = torch.cat(tokens)[None]
    inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens),
              "mm_token_type_ids": (tokens == IMAGE).int()}
    if grids:
        if patches is None:
            patches = torch.randn((sum(t * h * w for t, h, w in grids), 96), generator=generator)
        inputs |= {"pixel_values": patches, "image_grid_thw": torch.tensor(grids)}
    return inputs


def is_published_original(family):
    """Whether a family is published in what transformers takes for its original format. Qwen3.5 is as transformers computes
    with it, and would be saved with each expert by itself."""
    return not family.startswith("qwen3_5")


def respelled(family, tensors):
    """Experts of Qwen3-VL as they are published: inputs before outputs."""
    return {name: tensor.transpose(1, 2).contiguous() if family == "qwen3_vl_moe" and ".mlp.experts." in name else tensor
            for name, tensor in tensors.items()}


def joined(samples, key):
    return torch.cat([inputs[key] for inputs in samples if key in inputs])


def bounds(samples):
    return torch.tensor([0] + [inputs["input_ids"].shape[1] for inputs in samples]).cumsum(0)


def generation(fresh, folder, generator, margins):
    processor = Qwen2VLImageProcessor.from_pretrained(folder)
    pictures = pathlib.Path("Tests/Fixtures/images")
    model = copy.deepcopy(fresh).eval()
    model.generation_config = GenerationConfig(do_sample=False, max_new_tokens=NEW_TOKENS, pad_token_id=0)
    samples, generated = [], []
    for names, texts in PROMPTS:
        prepared = processor(images=[Image.open(pictures / name) for name in names], return_tensors="pt")
        for attempt in range(400):
            inputs = sample(prepared["image_grid_thw"].tolist(), texts, generator, prepared["pixel_values"])
            made, gap = greedy(model, inputs, margins)
            if gap > GREEDY_MARGIN and min(margins, default=1) > 1e-5 and IMAGE not in made:
                break
        else:
            raise SystemExit("no prompt has likeliest tokens far above the others")
        samples.append(inputs)
        generated.append(made)
    return {
        "prompts": torch.cat([inputs["input_ids"][0] for inputs in samples]), "prompt_cu_seqlens": bounds(samples),
        "prompt_image_counts": torch.tensor([len(names) for names, _ in PROMPTS]),
        "prompt_patches": joined(samples, "pixel_values"), "prompt_grids": joined(samples, "image_grid_thw"),
        "generated": torch.stack(generated)}


def reference(folder, generator):
    fresh = load(folder, AutoModelForImageTextToText)
    family = fresh.config.model_type
    margins = []
    watch_margins(fresh, margins)
    for attempt in range(100):
        samples = [sample(grids, texts, generator) for grids, texts in SEQUENCES]
        margins.clear()
        with torch.no_grad():
            for inputs in samples:
                copy.deepcopy(fresh)(**inputs)
                fresh.model.rope_deltas = None
                fresh(**inputs)
        if min(margins, default=1) > 1e-4:
            break
    else:
        raise SystemExit("a router is nearly undecided")
    predicted = sum(inputs["input_ids"].shape[1] - 1 for inputs in samples)
    log_probs, gradients, positions, loss = [], {}, [], 0.0
    for inputs in samples:
        model = copy.deepcopy(fresh)
        tokens = inputs["input_ids"][0]
        model.model.rope_deltas = None
        logits = model(**inputs).logits[0]
        _, chosen, share = learn(model, logits, tokens, predicted, gradients)
        loss += share
        log_probs.append(chosen)
        positions.append(model.model.get_rope_index(
            inputs["input_ids"], inputs["mm_token_type_ids"], inputs.get("image_grid_thw"))[0][:, 0])
    save_file({
        "tokens": torch.cat([inputs["input_ids"][0] for inputs in samples]), "cu_seqlens": bounds(samples),
        "image_counts": torch.tensor([len(grids) for grids, _ in SEQUENCES]), "positions": torch.cat(positions, 1),
        "patches": joined(samples, "pixel_values"), "grids": joined(samples, "image_grid_thw"),
        "log_probs": torch.cat(log_probs), "loss": torch.tensor([loss]),
        **{f"gradient.{name}": gradient for name, gradient in respelled(
            family, published(fresh, gradients, is_published_original(family))).items()},
        **generation(fresh, folder, generator, margins),
    }, folder / "reference.safetensors")
    report(folder, loss, gradients)


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = pathlib.Path("Tests/Fixtures/vision")
    for name in sys.argv[1:] or MODELS:
        reference(root / name, create(root / name, name))
