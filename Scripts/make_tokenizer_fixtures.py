"""Writes Tests/Fixtures/Tokenization: small tokenizers with the structure of published ones, and what Python makes of a
nasty corpus with them.

    python3 Scripts/make_tokenizer_fixtures.py [FOLDER]

Each folder under tokenizers/ is trained here on a few sentences, but has the pre-tokenizer, normalizer, decoder,
post-processor and model options of the model it is named after. variants.json holds single components that are put into
byte/tokenizer.json.
"""

import argparse
import json
import os
import random
import sys
import textwrap
import unicodedata
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

FOLDER = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "Tests", "Fixtures", "Tokenization")

SENTENCES = """The quick brown fox jumps over the lazy dog, doesn't it? I'LL say we've been there; they'd agree.
In 2024 the price rose by 12.5% to $1,234,567.89 — about 3½ times what it was in 1999.
def f(x: int) -> str:\n\treturn f"{x:>08b}" if x != 0 else 'zero'\n\n\nprint(f(12345))
Le cœur a ses raisons que la raison ne connaît point. Où est-ce que tu étais, naïf garçon ?
Falsches Üben von Xylophonmusik quält jeden größeren Zwerg. Straße, Fuß, MASSE.
Съешь же ещё этих мягких французских булок, да выпей чаю. Ёлки-палки!
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Ο Σίσυφος ΟΔΥΣΣΕΥΣ
今天天气很好，我们去公园散步吧。学而时习之，不亦说乎？有朋自远方来，不亦乐乎？
吾輩は猫である。名前はまだ無い。カタカナとひらがな、ﾊﾝｶｸ。
키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다.
نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر. ١٢٣٤٥
דג סקרן שט בים מאוכזב ולפתע מצא חברה. שָׁלוֹם
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश। १२३
เป็นมนุษย์สุดประเสริฐเลิศคุณค่า ๑๒๓
Tiếng Việt rất đẹp: Trời nắng chang chang, người trói người.
😀 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪🇫🇷 ❤️ ✈︎ ∑∫√∞≠≤ x² + y² = z² 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ﬁ ﬂ Ⅷ ①②③ ㍿""".split("\n")

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")
DEEPSEEK_V3 = [r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+",
               r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
               r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""]
DEEPSEEK_V2 = [r"[\r\n]",
              (r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ"
               r"Ὗ-\x{1f7d}ᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-\x{1fd3}ῖ-\x{1fdb}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨ\x{212a}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳ"
               r"Ꙁ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+"),
               r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", r"[一-龥ࠀ-一가-퟿]+"]


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def sequence(kind, *steps):
    return {"type": "Sequence", kind: list(steps)}


def byte_level(prefix=False, trim=True, regex=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": trim, "use_regex": regex}


def added(content, id=0, special=True, **flags):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": special} | flags


def template(token, id):
    return {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": token, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}}}


def training_text():
    code = [line for module in (argparse, textwrap) for line in open(module.__file__, encoding="utf-8").read().split("\n\n")]
    return SENTENCES * 20 + code[:150]


def parts(**given):
    empty = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
             "pre_tokenizer": None, "post_processor": None, "decoder": None, "model": None}
    return empty | given


def bpe(vocab, merges, as_strings=False, **options):
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    return model | options | {"vocab": vocab, "merges": [" ".join(m) for m in merges] if as_strings else merges}


def train(pre_tokenizer, size, normalizer=None, alphabet=None, specials=()):
    model = bpe({"a": 0}, [])
    tokenizer = Tokenizer.from_str(json.dumps(parts(pre_tokenizer=pre_tokenizer, normalizer=normalizer, model=model)))
    limits = {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()} if alphabet is None else {"limit_alphabet": 300}
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, special_tokens=list(specials), min_frequency=1, **limits)
    tokenizer.train_from_iterator(training_text(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return dict(sorted(model["vocab"].items(), key=lambda item: item[1])), [tuple(m) for m in model["merges"]]


def byte_level_model(pre_tokenizer, tokens, size=700, normalizer=None, options=(), **others):
    """A tokenizer in the manner of GPT-2; `tokens` get the ids after the vocabulary."""
    vocab, merges = train(pre_tokenizer, size, normalizer)
    options = dict(options)
    if options.get("ignore_merges"):
        # Tokens that no merge leads to.
        for word in ["Ġsupercalifragilistic", "Ġxyzzy", "plugh"]:
            vocab[word] = len(vocab)
    tokens = [token | {"id": len(vocab) + i} for i, token in enumerate(tokens)]
    if others.get("post_processor") == "bos":
        others["post_processor"] = sequence("processors", byte_level(True, False, True),
                                            template(tokens[0]["content"], tokens[0]["id"]))
    return parts(added_tokens=tokens, normalizer=normalizer, pre_tokenizer=pre_tokenizer, decoder=byte_level(True, True, True),
                 model=bpe(vocab, merges, **options), **({"post_processor": byte_level(False, False, False)} | others))


def sentencepiece_model(tokens, size=1100, legacy=True, options=(), **others):
    """A tokenizer in the manner of Llama 2: `▁` for spaces, bytes for characters that the vocabulary lacks."""
    specials = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    vocab, merges = train(metaspace, size, alphabet=[], specials=specials)
    runs = ["▁" * n for n in (2, 4, 8)]
    for token in runs:
        vocab.setdefault(token, len(vocab))
    merges += [(token[: len(token) // 2],) * 2 for token in runs]
    if legacy:
        others |= {"normalizer": sequence("normalizers", {"type": "Prepend", "prepend": "▁"},
                                          {"type": "Replace", "pattern": {"String": " "}, "content": "▁"})}
    tokens = [token | {"id": vocab.get(token["content"], len(vocab) + i)} for i, token in enumerate(tokens)]
    decoder = sequence("decoders", {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
                       {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0})
    options = {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "as_strings": True} | dict(options)
    return parts(added_tokens=tokens, model=bpe(vocab, merges, **options),
                 **({"post_processor": template("<s>", 1), "decoder": decoder} | others))


def tokenizers():
    llama2 = [added("<unk>"), added("<s>"), added("</s>"), added("[INST]", special=False, normalized=True),
              added("<pad>", normalized=True, single_word=True)]
    first = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    return {
        "gpt2": byte_level_model(byte_level(regex=True), [added("<|endoftext|>", normalized=True)],
                                 options={"as_strings": True}),
        "llama3": byte_level_model(sequence("pretokenizers", split(LLAMA3), byte_level()),
                                   [added("<|begin_of_text|>"), added("<|eot_id|>"), added("<|start_header_id|>")],
                                   options={"ignore_merges": True}, post_processor="bos"),
        "qwen3": byte_level_model(sequence("pretokenizers", split(QWEN2), byte_level()),
                                  [added("<|endoftext|>"), added("<|im_start|>"), added("<|im_end|>"),
                                   added("<think>", special=False), added("</think>", special=False),
                                   added("<tool_call>", special=False)], normalizer={"type": "NFC"}),
        "deepseek-v3": byte_level_model(sequence("pretokenizers", *map(split, DEEPSEEK_V3), byte_level()),
                                        [added("<｜begin▁of▁sentence｜>"), added("<｜User｜>", special=False, normalized=True),
                                         added("<｜fim▁hole｜>", special=False, lstrip=True)],
                                        normalizer=sequence("normalizers"), post_processor="bos"),
        "deepseek-v2": byte_level_model(
            sequence("pretokenizers", *map(split, DEEPSEEK_V2), {"type": "Digits", "individual_digits": True}, byte_level()),
            [added("<｜begin▁of▁sentence｜>")]),
        "glm4": byte_level_model(sequence("pretokenizers", split(CL100K), byte_level()),
                                 [added("<|endoftext|>"), added("[gMASK]"), added("<|user|>", rstrip=True),
                                  added("<|assistant|>", lstrip=True, rstrip=True)],
                                 options={"ignore_merges": True}, post_processor=None),
        "gpt-oss": byte_level_model(sequence("pretokenizers", split(O200K), byte_level()), [added("<|return|>")]),
        "llama2": sentencepiece_model(llama2),
        "mistral": sentencepiece_model(llama2[:3], legacy=False, pre_tokenizer=first, options={"ignore_merges": True}),
        "no-fallback": sentencepiece_model(llama2[:3], legacy=False, options={"byte_fallback": False, "fuse_unk": False},
                                           pre_tokenizer=first | {"prepend_scheme": "always", "split": True},
                                           decoder={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}),
        "byte": byte_level_model(byte_level(regex=True), [added("<|x|>")], size=400),
    }


def variants():
    """Single components for byte/tokenizer.json."""
    rows = [{"normalizer": {"type": name}} for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "ByteLevel")]
    rows[-1] |= {"pre_tokenizer": split(" ")}
    rows += [
        {"normalizer": {"type": "Strip", "strip_left": left, "strip_right": right}} for left in (True, False)
        for right in (True, False)]
    rows += [
        {"normalizer": sequence("normalizers", {"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"})},
        {"normalizer": {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}},
        {"normalizer": {"type": "Replace", "pattern": {"Regex": r"(?<=[a-z])(?=[A-Z])"}, "content": "_"}},
        {"normalizer": {"type": "Replace", "pattern": {"String": ".*"}, "content": ""}},
        {"normalizer": {"type": "Prepend", "prepend": "x y"}},
        {"normalizer": {"type": "Lowercase"},
         "added_tokens": [added("<A>", normalized=True), added("wORd", special=False, single_word=True, normalized=True),
                          added("é", single_word=True, lstrip=True), added(" \n", rstrip=True), added("the"),
                          added("they", lstrip=True, special=False, normalized=True)]},
    ]
    last = byte_level()
    for pattern in (r"\s", r"[\p{Lu}&&[^A-M]]", r"\d+|\w+", "x*", r"^|$", r"\bt\w*?e", r"(?i)the|k", r"(a|b|ab)(c|bcd)?(d*)",
                    r"\p{Han}+|\p{Hiragana}+|\p{Katakana}+", r"[[:punct:]]+", r"(?>\s+)x|\S+?e", r"\p{M}\P{M}", r"\Z",
                    r"(?:\p{L}\p{M}*){2,4}?", r"[^\x00-\x7F]+", r"(?!\n)\s{2,}", r".+"):
        for behavior in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
            if behavior in ("Isolated", "Removed") or len(pattern) % 3 == 0:
                rows.append({"pre_tokenizer": sequence("pretokenizers", split(pattern, behavior), last)})
    rows.append({"pre_tokenizer": sequence("pretokenizers", split(r"\p{L}+", "Removed", True), last)})
    rows.append({"pre_tokenizer": sequence("pretokenizers", split(r"\p{L}+", "MergedWithNext", True), last)})
    for name in ("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "P", "S", "Z", "Cc", "Cf", "Co", "Cn", "Alphabetic",
                 "Uppercase", "Lowercase", "Emoji", "Han", "Arabic", "Latin", "Common", "Inherited", "White_Space"):
        rows.append({"pre_tokenizer": sequence("pretokenizers", split(rf"\p{{{name}}}", "Removed"), last)})
    for step in ({"type": "Digits", "individual_digits": True}, {"type": "Digits", "individual_digits": False},
                 {"type": "Whitespace"}, {"type": "WhitespaceSplit"}, {"type": "BertPreTokenizer"},
                 {"type": "Punctuation", "behavior": "Isolated"}, {"type": "Punctuation", "behavior": "MergedWithPrevious"},
                 {"type": "CharDelimiterSplit", "delimiter": "e"}):
        rows.append({"pre_tokenizer": sequence("pretokenizers", step, last)})
    rows.append({"pre_tokenizer": byte_level(prefix=True, regex=True)})
    rows.append({"pre_tokenizer": sequence("pretokenizers", byte_level(), split("Ġ", "MergedWithNext"))})
    return rows


def nasty_texts(count, seed):
    """Texts of all planes of Unicode: words, marks, spaces of many kinds, special tokens, noise."""
    rng = random.Random(seed)
    assigned = [chr(c) for c in range(0x110000)
                if not 0xD800 <= c < 0xE000 and unicodedata.category(chr(c)) not in ("Cn", "Co")]
    marks = [c for c in assigned if unicodedata.combining(c)]
    small = [c for c in assigned if ord(c) < 0x3000]
    spaces = list(" \t\n\r\x0b\x0c\x85\u00a0\u1680\u2003\u2028\u2029\u202f\u3000\u200b\ufeff") + ["\r\n", "  ", "   ", "\n\n", "    "]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|begin_of_text|>", "<|eot_id|>", "<think>", "</think>", "<s>", "</s>", "<unk>", "[INST]",
              "<pad>", "<｜User｜>", "<｜fim▁hole｜>", "<｜begin▁of▁sentence｜>", "[gMASK]", "<|user|>", "<|assistant|>", "<|im_", "<|x|>",
              "<A>", "<a>", "word", "they", "the", "▁", "▁▁", "<0x0A>", "Ġ", "'s", "'S", "'ſ", "'LL", "’s", "K", "ſt"]
    words = [word for sentence in SENTENCES for word in sentence.split(" ")]
    kinds = [lambda: rng.choice(words) + " ", lambda: rng.choice(words), lambda: rng.choice(spaces), lambda: rng.choice(tokens),
             lambda: rng.choice(small), lambda: rng.choice(assigned), lambda: chr(rng.randrange(0x20, 0x7F)),
             lambda: rng.choice("aeounAEK") + "".join(rng.choices(marks, k=rng.randrange(4))),
             lambda: chr(rng.choice([rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)])),
             lambda: str(rng.randrange(10 ** rng.randrange(1, 9))), lambda: rng.choice("ㅎ하ᄒ") + rng.choice("ᅡᆫ한"),
             lambda: rng.choice("가각힣각가") + rng.choice("ᆨᆫᅡ"), lambda: chr(rng.randrange(0x20)),
             lambda: rng.choice("!?.,;:-_/\\'\"()[]{}<>|@#$%^&*+=~`") * rng.randrange(1, 4)]
    for _ in range(count):
        chosen = rng.choices(kinds, k=rng.randrange(1, 4))
        yield "".join(rng.choice(chosen)() for _ in range(rng.randrange(1, 40)))


def every_scalar():
    """Every scalar below U+3000 and a part of the others, each after a letter and before a space now and then."""
    chosen = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and (
        c < 0x3400 or 0xA000 <= c < 0xAC00 or 0xF900 <= c < 0x10000 or 0x10000 <= c < 0x12000 or 0x16800 <= c < 0x17000
        or 0x1AFF0 <= c < 0x20000 or 0x2F800 <= c < 0x2FA20 or c % 61 == 0)]
    return "".join(chr(c) + ("a" if c % 3 == 0 else " " if c % 7 == 0 else "") for c in chosen)


def digest(values):
    """FNV-1a of 64 bits over 32-bit numbers."""
    hash = 0xCBF29CE484222325
    for value in values:
        hash = (hash ^ value) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{hash:016x}"


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write(path, value):
    path = os.path.join(FOLDER, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(value)


def corpus():
    texts = ["", " ", "\n", "a", "\u0301", "word " * 60, "x" * 300, "▁" * 9, " " * 200, "ab" * 1500, "好" * 150, "\U0010ffff", "é", "e\u0301"]
    return texts + SENTENCES + list(nasty_texts(330, seed=1))


def main():
    texts, scalars, rng = corpus(), every_scalar(), random.Random(2)
    write("corpus.json", compact(texts))
    built = tokenizers()
    for name, content in built.items():
        tokenizer = Tokenizer.from_str(compact(content))
        ids = [tokenizer.encode(text).ids for text in texts]
        noise = [[rng.randrange(tokenizer.get_vocab_size() + 2) for _ in range(rng.randrange(1, 30))] for _ in range(40)]
        noise += [rng.choice(ids)[:rng.randrange(1, 30)] for _ in range(20)]
        write(f"tokenizers/{name}/tokenizer.json", compact(content))
        write(f"tokenizers/{name}/expected.json", compact({
            "ids": ids[:40],
            "digests": [digest(i)[:8] for i in ids],
            "bare": digest(i for text in texts for i in tokenizer.encode(text, add_special_tokens=False).ids),
            "scalars": digest(tokenizer.encode(scalars, add_special_tokens=False).ids),
            "decoded": [digest(tokenizer.decode(i, skip_special_tokens=True).encode())[:8] for i in ids],
            "noise": [{"ids": i, "text": tokenizer.decode(i, skip_special_tokens=False)} for i in noise]}))
    rows = []
    for variant in variants():
        tokenizer = Tokenizer.from_str(compact(built["byte"] | variant))
        rows.append({"change": variant, "scalars": digest(tokenizer.encode(scalars).ids),
                     "corpus": [digest(tokenizer.encode(text).ids)[:8] for text in texts[::4]]})
    write("variants.json", "[" + ",\n".join(map(compact, rows)) + "]\n")


if __name__ == "__main__":
    main()
