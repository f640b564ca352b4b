"""Whether `transformers` opens model folders that were saved here, and computes the same from them.

python3 Scripts/check_saved_models.py FOLDER ... : each holds what `slime` saved of the model of the same name in
Tests/Fixtures/models (those of `mimo` and `kimi_k2` are not for it: `transformers` does not know these by itself). Compares log-probabilities with the fixture's, fp32; exits with 1 where one differs by more than
1e-4 or a weight is missing or left over.
"""

import pathlib
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

FIXTURES = pathlib.Path(__file__).parent.parent / "Tests/Fixtures/models"


def difference(folder):
    reference = load_file(FIXTURES / folder.name / "reference.safetensors")
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager", output_loading_info=True)
    wrong = [*info["missing_keys"], *info["unexpected_keys"]]
    if wrong:
        raise SystemExit(f"{folder}: missing or left over: {', '.join(wrong)}")
    bounds = reference["cu_seqlens"].tolist()
    found = []
    for start, end in zip(bounds, bounds[1:]):
        tokens = reference["tokens"][start:end]
        with torch.no_grad():
            logits = model.eval()(tokens[None]).logits[0, :-1]
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
