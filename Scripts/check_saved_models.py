"""Whether `transformers` opens model folders that were saved here, and computes the same from them.

python3 Scripts/check_saved_models.py FOLDER ... : each holds what `slime` saved of the model of the same name in
Tests/Fixtures/models or Tests/Fixtures/vision (those of `mimo` and `kimi_k2` are not for it: `transformers` does not know these by itself). Compares log-probabilities with the fixture's, fp32; exits with 1 where one differs by more than
1e-4 or a weight is missing or left over.
"""

import pathlib
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

FIXTURES = pathlib.Path(__file__).parent.parent / "Tests/Fixtures"


def pictures(reference, tokens, image_token):
    """What a model is given of the pictures of each sequence."""
    patches, grids = iter(reference["patches"]), iter(reference["grids"])
    for own, count in zip(tokens, reference["image_counts"].tolist()):
        given = {"mm_token_type_ids": (own == image_token).int()[None]}
        if count:
            given["image_grid_thw"] = torch.stack([next(grids) for _ in range(count)])
            given["pixel_values"] = torch.stack([next(patches) for _ in range(given["image_grid_thw"].prod(1).sum())])
        yield given


def difference(folder):
    sees = (FIXTURES / "vision" / folder.name).exists()
    reference = load_file(FIXTURES / ("vision" if sees else "models") / folder.name / "reference.safetensors")
    model, info = (AutoModelForImageTextToText if sees else AutoModelForCausalLM).from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager", output_loading_info=True)
    wrong = [*info["missing_keys"], *info["unexpected_keys"]]
    if wrong:
        raise SystemExit(f"{folder}: missing or left over: {', '.join(wrong)}")
    bounds = reference["cu_seqlens"].tolist()
    sequences = [reference["tokens"][start:end] for start, end in zip(bounds, bounds[1:])]
    seen = pictures(reference, sequences, model.config.image_token_id) if sees else [{}] * len(sequences)
    found = []
    for tokens, given in zip(sequences, seen):
        if sees:
            model.model.rope_deltas = None
        with torch.no_grad():
            logits = model.eval()(tokens[None], **given).logits[0, :-1]
        found.append(logits.log_softmax(-1).gather(1, tokens[1:, None])[:, 0])
    return (torch.cat(found) - reference["log_probs"]).abs().max().item()


if __name__ == "__main__":
    worst = 0.0
    for argument in sys.argv[1:]:
        folder = pathlib.Path(argument)
        error = difference(folder)
        print(f"{folder.name}: {error:.1e}")
        worst = max(worst, error)
    sys.exit(worst > 1e-4)
