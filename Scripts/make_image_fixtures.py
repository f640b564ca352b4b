"""Writes Tests/Fixtures/images/: pictures of odd sizes and kinds with what transformers' Qwen2-VL processor makes of them.

Needs torch, torchvision, transformers and Pillow. From the repository root: python3 Scripts/make_image_fixtures.py

  <name>                     the picture
  preprocessor_config.json   of the processor: small patches and few pixels, so that files stay small
  reference.safetensors      <name>.patches fp32 [patches, 3, patch²], one of the two equal frames of each patch;
                             <name>.grid int64 [3]
  slim.png                   one that no processor takes
"""

import json
import pathlib
import shutil

import numpy
import torch
from PIL import Image, ImageOps
from safetensors.torch import save_file
from transformers import Qwen2VLImageProcessor

PATCH = 4
KINDS = ["rgb.png", "rgb.jpeg", "rgb.webp", "grey.png", "grey.jpeg", "rgba.png", "rgba.webp", "palette.png",
         "palette-transparent.png", "grey-alpha.png", "lossless.webp", "turned.jpeg", "progressive.jpeg", "subsampled.jpeg"]
# Height and width: already whole patches, too large, too small, slim.
SIZES = [(24, 32), (37, 53), (61, 19), (7, 9), (90, 11), (133, 141), (8, 8), (41, 40), (15, 201), (64, 16)]


def picture(height, width, channels, generator):
    """Smooth colours with some noise, so that decoders and filters have something to disagree about."""
    y, x = numpy.mgrid[0:height, 0:width]
    waves = [numpy.sin(x / generator.uniform(2, 9) + y / generator.uniform(2, 9) + c) for c in range(channels)]
    noise = generator.uniform(-0.3, 0.3, (height, width, channels))
    return ((numpy.stack(waves, -1) * 0.4 + 0.5 + noise).clip(0, 1) * 255).astype(numpy.uint8)


def write(path, kind, size, generator):
    mode, suffix = kind.split(".")
    if mode.startswith("grey-"):
        image = Image.fromarray(picture(*size, 2, generator), "LA")
    elif mode == "grey":
        image = Image.fromarray(picture(*size, 1, generator)[..., 0])
    elif mode == "rgba":
        image = Image.fromarray(picture(*size, 4, generator))
    else:
        image = Image.fromarray(picture(*size, 3, generator))
    options = {}
    if mode.startswith("palette"):
        image = image.quantize(16)
        options = {"transparency": 3} if mode.endswith("transparent") else {}
    if mode == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        options = {"exif": exif}
    if mode == "progressive":
        options = {"progressive": True, "quality": 60}
    if mode == "subsampled":
        options = {"subsampling": 2, "quality": 85}
    if mode == "lossless":
        options = {"lossless": True}
    image.save(path, **options)


def main():
    folder = pathlib.Path("Tests/Fixtures/images")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    processor = Qwen2VLImageProcessor(
        patch_size=PATCH, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 8 * 24, "longest_edge": 32 * 32})
    config = {key: value for key, value in processor.to_dict().items() if key not in ("processor_class",)}
    (folder / "preprocessor_config.json").write_text(json.dumps(config, indent=2) + "\n")
    generator = numpy.random.default_rng(5)
    reference = {}
    for index in range(20):
        kind, size = KINDS[index % len(KINDS)], SIZES[index % len(SIZES)]
        name = f"{index:02d}-{kind}"
        write(folder / name, kind, size, generator)
        image = ImageOps.exif_transpose(Image.open(folder / name))
        output = processor(images=[image], return_tensors="pt")
        patches = output["pixel_values"].view(-1, 3, 2, PATCH * PATCH)
        assert torch.equal(patches[:, :, 0], patches[:, :, 1])
        reference |= {
            f"{name}.patches": patches[:, :, 0].contiguous(), f"{name}.grid": output["image_grid_thw"][0]}
        print(name, image.size, output["image_grid_thw"][0].tolist())
    write(folder / "slim.png", "rgb.png", (1, 201), generator)
    save_file(reference, folder / "reference.safetensors")


main()
