"""Writes Tests/Fixtures/drafts/<name>/: tiny models with draft heads, and the drafts that PyTorch computes with them.

Needs torch and transformers (fp32, CPU). From the repository root: python3 Scripts/make_draft_fixtures.py [NAME ...]

  model/        a Hugging Face model; that of `deepseek-nextn`, `glm-nextn` and `mimo-nextn` with its layer for tokens
                further on (`num_nextn_predict_layers`), under the names of the published checkpoints
  head/         of `llama-eagle`: a draft head as EAGLE publishes them (fc, layers.0.*, a copy of the embedding); of
                `llama-eagle3`: one of EAGLE-3 (fc, midlayer.*, norm, lm_head over some tokens, d2t, t2d)
  drafts.json   for each manner of drafting (steps, topk, tokens) and each prompt a run of speculative decoding, greedy,
                ignoring the end of sequence: the response, and of each step that drafted the tokens of its drafts and which
                they follow (-1: the response so far), the likeliest first

Heads are written out here by hand, on the decoder layers of transformers, and compute every pair of token and feature anew
for every draft, without a cache. The models' layers add little to the embedding, so that heads agree with them now and then.
"""

import json
import pathlib
import shutil
import sys
import zlib

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

from make_model_fixtures import ALIASES, COMMON, MODELS, build, load, randomise, respell_as_published, rope

BASES = {
    "llama-eagle": "llama3-gqa", "llama-eagle3": "llama3-gqa", "deepseek-nextn": "deepseek-v3", "glm-nextn": "glm4-moe",
    "mimo-nextn": "mimo"}
HEAD_LAYER = dict(num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=1, head_dim=8, rope_parameters=rope(1e4))
MANNERS = [dict(steps=3, topk=1, tokens=4), dict(steps=3, topk=3, tokens=8), dict(steps=2, topk=4, tokens=12)]
NEW_TOKENS = 20
PROMPT_LENGTHS = [1, 2, 9, 33, 33]
SEEDS = {"llama-eagle": 0, "llama-eagle3": 0, "deepseek-nextn": 0, "glm-nextn": 1, "mimo-nextn": 2}
# What layers add is scaled by this, and the half of a head's input that is not the embedding.
QUIET = {"llama-eagle": 0.15, "llama-eagle3": 0.15, "deepseek-nextn": 0.05, "glm-nextn": 0.05, "mimo-nextn": 0.08}


def quieten(module, scale):
    for name, parameter in module.named_parameters():
        if name.endswith(("o_proj.weight", "o_proj.bias", "down_proj.weight", "down_proj.bias", "down_proj")):
            parameter.data *= scale


class Head:
    """A draft head: features and the tokens after them -> features of those tokens."""

    def __init__(self, model, layer, rotary):
        self.model, self.layer, self.rotary = model, layer, rotary

    def features(self, output):
        """What the model's pass over all tokens gives the head."""
        return output.hidden_states[-1]

    def logits(self, made):
        return self.model.lm_head(made)

    def decoder_layer(self, hidden):
        length = len(hidden)
        mask = torch.full((length, length), -torch.inf).triu(1)[None, None]
        positions = torch.arange(length)[None]
        out = self.layer(
            hidden[None], attention_mask=mask, position_ids=positions,
            position_embeddings=self.rotary(hidden[None], positions))
        return (out[0] if isinstance(out, tuple) else out).view(length, -1)


class NextN(Head):
    def __init__(self, model, generator, quiet, number=0):
        size, epsilon = model.config.hidden_size, model.config.rms_norm_eps
        layer = type(model.model.layers[-1])(model.config, model.config.num_hidden_layers - 1).train()
        randomise(layer, generator)
        quieten(layer, quiet)
        super().__init__(model, layer, model.model.rotary_emb)
        self.epsilon, self.number = epsilon, number
        self.enorm, self.hnorm = (1 + 0.3 * torch.randn(size, generator=generator) for _ in range(2))
        noise = torch.randn(size, 2 * size, generator=generator) / size ** 0.5
        self.eh_proj = torch.cat(self.ordered(torch.eye(size), torch.zeros(size, size)), 1) + quiet * noise
        self.norm = model.model.norm.weight.data * (1 + 0.1 * torch.randn(size, generator=generator))

    def ordered(self, embedding, hidden):
        return [embedding, hidden]

    def rms(self, hidden, weight):
        return hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.epsilon) * weight

    def __call__(self, tokens, features):
        embedding = self.rms(self.model.model.embed_tokens(tokens).detach(), self.enorm)
        both = torch.cat(self.ordered(embedding, self.rms(features, self.hnorm)), -1)
        return self.rms(self.decoder_layer(both @ self.eh_proj.T), self.norm)

    def own(self):
        return {"enorm": self.enorm, "hnorm": self.hnorm, "eh_proj": self.eh_proj, "shared_head.norm": self.norm}

    def named(self, values):
        """What there is for each of its weights, by the names of the checkpoint."""
        return {f"model.layers.{self.model.config.num_hidden_layers + self.number}.{name}": value
                for name, value in values.items()}

    def separated(self, values):
        """Experts one by one."""
        tensors = {}
        for name, value in values.items():
            if name in ("mlp.experts.gate_up_proj", "mlp.experts.down_proj"):
                parts = ["gate_proj", "up_proj"] if "gate_up" in name else ["down_proj"]
                for expert, rows in enumerate(value):
                    for part, half in zip(parts, rows.chunk(len(parts))):
                        tensors[f"mlp.experts.{expert}.{part}.weight"] = half.contiguous()
            else:
                tensors[name] = value
        return self.named({name: value.detach().clone().contiguous() for name, value in tensors.items()})

    def tensors(self):
        copies = {
            "shared_head.head.weight": self.model.lm_head.weight, "embed_tokens.weight": self.model.model.embed_tokens.weight}
        own = {f"{name}.weight": value for name, value in self.own().items()}
        return self.separated({**own, **copies, **self.layer.state_dict()})


class MiMo(NextN):
    """Reads what the last layer says, before the final norm, and has names of its own."""

    NAMES = {"enorm": "token_layernorm", "hnorm": "hidden_layernorm", "eh_proj": "input_proj", "shared_head.norm": "final_layernorm"}

    def __init__(self, model, *rest):
        super().__init__(model, *rest)
        model.model.norm.register_forward_pre_hook(lambda norm, inputs: setattr(self, "unnormed", inputs[0]))

    def features(self, output):
        return self.unnormed

    def ordered(self, embedding, hidden):
        return [hidden, embedding]

    def own(self):
        return {self.NAMES[name]: value for name, value in super().own().items()}

    def named(self, values):
        return {f"model.mtp_layers.{self.number}.{name}": value for name, value in values.items()}

    def tensors(self):
        own = {f"{name}.weight": value for name, value in self.own().items()}
        return self.separated({**own, **self.layer.state_dict()})


class QwenNext(NextN):
    """Norms whose weights are around 0, and names of its own beside the model."""

    NAMES = {"enorm": "pre_fc_norm_embedding", "hnorm": "pre_fc_norm_hidden", "eh_proj": "fc", "shared_head.norm": "norm"}

    def __init__(self, model, *rest):
        super().__init__(model, *rest)
        self.enorm, self.hnorm = self.enorm - 1, self.hnorm - 1
        for name, parameter in self.layer.named_parameters():
            if name.endswith("norm.weight"):
                parameter.data -= 1

    def rms(self, hidden, weight):
        return super().rms(hidden, 1 + weight)

    def own(self):
        return {self.NAMES[name]: value for name, value in super().own().items()}

    def named(self, values):
        own = {f"{name}.weight" for name in self.NAMES.values()}
        return {f"mtp.{name}" if name in own else f"mtp.layers.{self.number}.{name}": value for name, value in values.items()}

    def tensors(self):
        own = {f"{name}.weight": value for name, value in self.own().items()}
        return self.separated({**own, **self.layer.state_dict()})


class Eagle(Head):
    def __init__(self, model, generator, quiet):
        size = model.config.hidden_size
        self.config = LlamaConfig(**{**COMMON, "vocab_size": model.config.vocab_size, **HEAD_LAYER})
        self.config._attn_implementation = "eager"
        layer = LlamaDecoderLayer(self.config, 0).train()
        layer.input_layernorm = torch.nn.Identity()
        randomise(layer, generator)
        quieten(layer, quiet)
        super().__init__(model, layer, LlamaRotaryEmbedding(self.config))
        noise = torch.randn(size, 2 * size, generator=generator) / size ** 0.5
        own = torch.diag(model.model.norm.weight.data)
        self.fc = torch.cat([own, torch.zeros(size, size)], 1) + quiet * noise
        self.bias = 0.05 * torch.randn(size, generator=generator)

    def __call__(self, tokens, features):
        both = torch.cat([self.model.model.embed_tokens(tokens), features], -1)
        return self.decoder_layer(both @ self.fc.T + self.bias)

    def tensors(self):
        tensors = {f"layers.0.{name}": value for name, value in self.layer.state_dict().items()}
        tensors |= {
            "fc.weight": self.fc, "fc.bias": self.bias, "embed_tokens.weight": self.model.model.embed_tokens.weight.data}
        return {name: value.detach().clone().contiguous() for name, value in tensors.items()}


class Eagle3(Head):
    """Features are of the inputs of layers 1, 2 and 4; the tokens that are predicted are those that the model prefers."""

    AUXILIARY = [0, 1, 3]
    PREDICTIONS = 12

    def __init__(self, model, generator, quiet):
        size, vocabulary = model.config.hidden_size, model.config.vocab_size
        self.config = LlamaConfig(**{**COMMON, "vocab_size": vocabulary, **HEAD_LAYER})
        self.config._attn_implementation = "eager"
        layer = LlamaDecoderLayer(self.config, 0).train()
        for name in ("q_proj", "k_proj", "v_proj"):
            old = getattr(layer.self_attn, name)
            setattr(layer.self_attn, name, torch.nn.Linear(2 * size, old.out_features, bias=False))
        layer.hidden_norm = torch.nn.Parameter(torch.ones(size))
        randomise(layer, generator)
        layer.hidden_norm.data = 1 + 0.3 * torch.randn(size, generator=generator)
        super().__init__(model, layer, LlamaRotaryEmbedding(self.config))
        self.fc = torch.randn(size, 3 * size, generator=generator) / size ** 0.5
        self.norm = 1 + 0.3 * torch.randn(size, generator=generator)
        self.tokens = torch.randperm(vocabulary, generator=generator)[:self.PREDICTIONS].sort().values
        self.lm_head = torch.randn(self.PREDICTIONS, size, generator=generator) * 2 / size ** 0.5
        model.lm_head.weight.data[self.tokens] *= 3

    def features(self, output):
        return torch.cat([output.hidden_states[i + 1] for i in self.AUXILIARY], -1)[0][None] @ self.fc.T

    def rms(self, hidden, weight):
        return hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.config.rms_norm_eps) * weight

    def __call__(self, tokens, features):
        layer = self.layer
        embedding = layer.input_layernorm(self.model.model.embed_tokens(tokens))
        both = torch.cat([embedding, self.rms(features, layer.hidden_norm)], -1)[None]
        mask = torch.full((len(tokens), len(tokens)), -torch.inf).triu(1)[None, None]
        angles = self.rotary(both, torch.arange(len(tokens))[None])
        middle = features + layer.self_attn(both, position_embeddings=angles, attention_mask=mask)[0][0]
        return middle + layer.mlp(layer.post_attention_layernorm(middle))

    def logits(self, made):
        logits = torch.full((self.model.config.vocab_size,), -torch.inf)
        logits[self.tokens] = self.rms(made, self.norm) @ self.lm_head.T
        return logits

    def tensors(self):
        tensors = {f"midlayer.{name}": value for name, value in self.layer.state_dict().items() if name != "hidden_norm"}
        predicted = torch.zeros(self.model.config.vocab_size, dtype=torch.bool)
        predicted[self.tokens] = True
        tensors |= {
            "midlayer.hidden_norm.weight": self.layer.hidden_norm, "fc.weight": self.fc, "norm.weight": self.norm,
            "lm_head.weight": self.lm_head, "d2t": self.tokens - torch.arange(self.PREDICTIONS), "t2d": predicted}
        return {name: value.detach().clone().contiguous() for name, value in tensors.items()}


def draft(head, tokens, features, depth, topk, count, margins):
    """The likeliest `count` drafts after `tokens`: (token, parent), found level by level."""
    # Of each node its token, its parent, its log-probability, and what the head made of it.
    nodes = [dict(token=tokens[-1], parent=None, score=0.0, feature_before=features[-1])]
    frontier = [0]
    for _ in range(depth):
        new = []
        for place in frontier:
            way = []
            node = place
            while node is not None:
                way.insert(0, node)
                node = nodes[node]["parent"]
            pair_tokens = torch.tensor(tokens[1:-1] + [nodes[n]["token"] for n in way])
            pair_features = torch.stack(list(features[:-1]) + [nodes[n]["feature_before"] for n in way])
            made = head(pair_tokens, pair_features)[-1]
            distribution = torch.log_softmax(head.logits(made), -1)
            best = distribution.topk(topk + 1)
            margins.append((best.values[-2] - best.values[-1]).item())
            for value, token in zip(best.values[:topk], best.indices[:topk]):
                new.append(len(nodes))
                nodes.append(dict(
                    token=token.item(), parent=place, score=nodes[place]["score"] + value.item(), feature_before=made))
        ranked = sorted(new, key=lambda n: -nodes[n]["score"])
        if len(ranked) > topk:
            margins.append(nodes[ranked[topk - 1]]["score"] - nodes[ranked[topk]]["score"])
        frontier = ranked[:topk]
    ranked = sorted(range(1, len(nodes)), key=lambda n: -nodes[n]["score"])
    margins += [nodes[a]["score"] - nodes[b]["score"] for a, b in zip(ranked[:count], ranked[1:])]
    kept = ranked[:count]
    places = {0: -1} | {node: place for place, node in enumerate(kept)}
    return [nodes[n]["token"] for n in kept], [places[nodes[n]["parent"]] for n in kept]


def run(head, prompt, manner, margins):
    model = head.model

    def output(tokens):
        return model(torch.tensor(tokens)[None], output_hidden_states=True)

    def greedy(tokens):
        best = output(tokens).logits[0, -1].topk(2)
        margins.append((best.values[0] - best.values[1]).item())
        return best.indices[0].item()

    tokens = list(prompt)
    tokens.append(greedy(tokens))
    steps = []
    while len(tokens) - len(prompt) < NEW_TOKENS:
        useful = NEW_TOKENS - (len(tokens) - len(prompt)) - 1
        drafts, parents = [], []
        if useful > 0:
            drafts, parents = draft(
                head, tokens, head.features(output(tokens[:-1]))[0], min(manner["steps"], manner["tokens"] - 1, useful), manner["topk"],
                manner["tokens"] - 1, margins)
            steps.append(dict(tokens=drafts, parents=parents))
        place = -1
        while place is not None:
            token = greedy(tokens)
            tokens.append(token)
            children = [n for n, parent in enumerate(parents) if parent == place and drafts[n] == token]
            place = children[0] if children and len(tokens) - len(prompt) < NEW_TOKENS else None
    return dict(response=tokens[len(prompt):], steps=steps)


def create_model(folder, base, quiet, generator, layers=2):
    """A model whose layers add little, read back from its folder."""
    family, spelling, changes = MODELS[base]
    model = build(family, {**changes, "num_hidden_layers": layers})
    randomise(model, generator)
    quieten(model, quiet)
    model.save_pretrained(folder, save_original_format=True)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if spelling == "published":
        respell_as_published(folder / "config.json")
    return load(folder)


def add_layers(folder, base, heads):
    """Prediction layers, into the folder of their model."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    for head in heads:
        tensors |= head.tensors()
    save_file(tensors, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text()) | ALIASES.get(base, {}) | {"num_nextn_predict_layers": len(heads)}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def create(root, name):
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()) + SEEDS[name])
    folder = root / "model"
    shutil.rmtree(root, ignore_errors=True)
    model = create_model(folder, BASES[name], QUIET[name], generator, 5 if name == "llama-eagle3" else 2)
    kind = {"llama-eagle": Eagle, "llama-eagle3": Eagle3, "mimo-nextn": MiMo}.get(name, NextN)
    head = kind(model, generator, QUIET[name])
    if name.startswith("llama"):
        (root / "head").mkdir()
        config = json.loads(head.config.to_json_string())
        config |= {"architectures": ["LlamaForCausalLMEagle"], "dtype": "float32"}
        if name == "llama-eagle3":
            config |= {
                "architectures": ["LlamaForCausalLMEagle3"], "draft_vocab_size": Eagle3.PREDICTIONS,
                "eagle_config": {"eagle_aux_hidden_state_layer_ids": Eagle3.AUXILIARY}}
            file = folder / "model.safetensors"
            save_file({**load_file(file), "lm_head.weight": model.lm_head.weight.data}, file, metadata={"format": "pt"})
        (root / "head" / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        save_file(head.tensors(), root / "head" / "model.safetensors", metadata={"format": "pt"})
    else:
        add_layers(folder, BASES[name], [head])
    return head, generator


def write(root, name):
    head, generator = create(root, name)
    margins, runs = [], []
    prompts = [torch.randint(3, head.model.config.vocab_size, (n,), generator=generator).tolist() for n in PROMPT_LENGTHS]
    # The last two share a prefix.
    prompts[-1][:24] = prompts[-2][:24]
    with torch.no_grad():
        for manner in MANNERS:
            runs.append(manner | {"runs": [{"prompt": prompt} | run(head, prompt, manner, margins) for prompt in prompts]})
    (root / "drafts.json").write_text(json.dumps(runs) + "\n")
    lengths = [(sum(len(r["response"]) - 1 for r in m["runs"]) / sum(len(r["steps"]) + 1 for r in m["runs"])) for m in runs]
    print(f"{name}: smallest margin {min(margins):.1e}, tokens a step {[round(length, 2) for length in lengths]}")
    assert min(margins) > 2e-5, "a choice is nearly undecided; take another seed"


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or BASES:
        write(pathlib.Path("Tests/Fixtures/drafts") / name, name)
