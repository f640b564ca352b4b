"""Writes Tests/Fixtures/grammars/{regexes,schemas}.json: what Python's `re` and `jsonschema` say of texts and values.

regexes.json: [[pattern, [[text, whether re.fullmatch(pattern, text, re.ASCII) finds it], ...]], ...]
schemas.json: [{"schema": ..., "valid": [...], "invalid": [...]}, ...]; values as compact JSON texts. The script
checks each verdict with jsonschema. Objects have their properties in the schema's order.
"""

import json
import random
import re
from pathlib import Path

import jsonschema

OUT = Path(__file__).parent.parent / "Tests/Fixtures/grammars"

# --- Regular expressions

PATTERNS = [
    "", "a", "abc", "a*", "a+b?", "(ab)*", "(?:a|b)+c", "a{3}", "a{2,}", "a{,2}b", "a{2,4}?", "[abc]+", "[^abc]+", r"\d+", r"\w+",
    r"\s*x\s*", r"\D\W\S", r"[\d_-]+", r"[a-c\-x]+", r"[]a]+", r"[^]a]+", r"\.\*\+\?", r"^abc$", r"^a|b$", r"\Aab\Z", ".", ".*b",
    "(a|ab)(c|bcd)(d*)", "(a*)*b", "(a*)+", "((a?b){2,3}c)*", "(?P<x>a)(b)", r"\x41\u00e9", "é+", "[é-ü]+", "[^é]", "😀?b",
    "[😀-😎]{2}", "a{", "a{b}", "a{1,2", r"\t\n", r"[\n ]+", r"\$\^", "(|a)b", "(a|)", "(?:)", "x{0}y", "(?:ab){0,2}a",
    r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", r"(\d{1,3}\.){3}\d{1,3}", r"[a-z]+@[a-z]+\.(com|org)", r"(yes|no|maybe)",
    r"\d{4}-\d{2}-\d{2}", "(a|b|ab|ba)*", "a(bc|b)?c", "(a{2,3}){2}", "(?:a|aa|aaa){4}", r"[\w.]+", r"[^\W\d]+", r"[\s\S]b",
    "(a{0,2}b?){3}", r"[ -~]*", "[a-]+", r"[\]\[]", "^(a|b)$", "^(?:ab)*$", r"\\", "/", "(((a)))", "a|b|c|", "[\\u4e00-\\u9fff]+",
]


def sample(parsed, rng):
    """A text that a parsed pattern matches."""
    out = ""
    for op, arg in parsed:
        name = str(op)
        if name == "LITERAL":
            out += chr(arg)
        elif name == "NOT_LITERAL":
            out += rng.choice([c for c in "abcxyz é😀01" if c != chr(arg)])
        elif name == "ANY":
            out += rng.choice("ab c1é😀")
        elif name == "IN":
            out += pick(arg, rng)
        elif name == "BRANCH":
            out += sample(rng.choice(arg[1]), rng)
        elif name == "SUBPATTERN":
            out += sample(arg[3], rng)
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, inner = arg
            for _ in range(rng.randint(low, min(high, low + 3))):
                out += sample(inner, rng)
        elif name != "AT":
            raise ValueError(name)
    return out


def pick(items, rng):
    pattern = re.compile("[" + "".join(item_text(i) for i in items) + "]", re.ASCII)
    pool = [c for c in map(chr, list(range(1, 0x250)) + list(range(0x4E00, 0x4E10)) + list(range(0x1F600, 0x1F610)))
            if pattern.match(c)]
    return rng.choice(pool)


def item_text(item):
    name, arg = str(item[0]), item[1]
    if name == "NEGATE":
        return "^"
    if name == "LITERAL":
        return re.escape(chr(arg))
    if name == "RANGE":
        return re.escape(chr(arg[0])) + "-" + re.escape(chr(arg[1]))
    return {"CATEGORY_DIGIT": r"\d", "CATEGORY_NOT_DIGIT": r"\D", "CATEGORY_WORD": r"\w", "CATEGORY_NOT_WORD": r"\W",
            "CATEGORY_SPACE": r"\s", "CATEGORY_NOT_SPACE": r"\S"}[str(arg)]


def mutated(text, rng):
    place = rng.randint(0, len(text))
    kind = rng.randrange(3)
    if kind == 0:
        return text[:place] + rng.choice("abcdxyz019 .-_\n\té😀{}\\") + text[place:]
    if kind == 1:
        return text[:place] + text[place + 1:]
    return text[:place] + rng.choice("abcdxyz019 .-_\n\té😀{}\\") + text[place + 1:]


def regexes():
    rng = random.Random(0)
    result = []
    for pattern in PATTERNS:
        parsed = re._parser.parse(pattern, re.ASCII)
        compiled = re.compile(pattern, re.ASCII)
        texts = {""}
        for _ in range(12):
            text = sample(parsed, rng)
            texts |= {text, mutated(text, rng), mutated(mutated(text, rng), rng)}
        result.append([pattern, [[t, compiled.fullmatch(t) is not None] for t in sorted(texts)]])
    return result


# --- JSON schemas: (schema, valid values, invalid values)

NODE = {"$ref": "#/$defs/node"}
SCHEMAS = [
    ({}, [1, "a", None, [1, {"a": []}], {"x": True}], []),
    (True, [1, {}], []),
    ({"type": "object"}, [{}, {"a": 1, "b": {"c": [1, 2]}}], [[], 1, "a"]),
    ({"type": "array"}, [[], [1, "a"]], [{}, 1]),
    ({"type": "null"}, [None], [0, "null", False]),
    ({"type": "boolean"}, [True, False], [0, "true", None]),
    ({"type": "string"}, ["", "a", "é😀", "\"\\\n\t\u0001/"], [1, None, []]),
    ({"type": "integer"}, [0, 1, -1, 1234567890123], [1.5, "1", None]),
    ({"type": "number"}, [0, -1.5, 1e-7, 1e300, 3], ["1", None]),
    ({"type": ["string", "null"]}, ["a", None], [1, True, []]),
    ({"type": ["integer", "string"]}, [5, "5"], [5.5, None]),
    ({"type": "integer", "minimum": 0}, [0, 1, 10, 99999], [-1, -10]),
    ({"type": "integer", "minimum": 5, "maximum": 123}, [5, 9, 10, 99, 100, 123], [4, 124, 0, -5, 1000, 500]),
    ({"type": "integer", "minimum": -123, "maximum": -5}, [-123, -5, -9, -10, -99, -100], [-4, -124, 0, 5, 100, -500]),
    ({"type": "integer", "minimum": -7, "maximum": 12}, list(range(-7, 13)), [-8, 13, -10, 20, 100]),
    ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 100}, [1, 99, 50], [0, 100, 101, -1]),
    ({"type": "integer", "minimum": 1.5, "maximum": 3.5}, [2, 3], [1, 4]),
    ({"type": "integer", "maximum": -1}, [-1, -10, -99999], [0, 1]),
    ({"type": "integer", "exclusiveMaximum": 0}, [-1, -20], [0, 3]),
    ({"type": "number", "minimum": 0.5, "maximum": 2.25}, [0.5, 1, 2, 2.25, 2.2, 0.75, 2.05, 0.501], [0.49, 2.26, 2.3, 3, 0, -1]),
    ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, [0.5, 0.01, 0.99], [0, 1, 1.5, -0.5]),
    ({"type": "number", "minimum": -1.5, "exclusiveMaximum": 10}, [-1.5, -1.25, 0, 9.99, 9, -0.5], [-1.51, 10, 10.5, -2, 11]),
    ({"type": "number", "minimum": 100}, [100, 100.5, 101, 1000], [99, 99.99, -100]),
    ({"type": "number", "maximum": -0.125}, [-0.125, -0.13, -1, -20.5], [-0.12, 0, 1, -0.1]),
    ({"type": "number", "minimum": 0.001, "maximum": 0.0019}, [0.001, 0.0015, 0.0019], [0.0009, 0.002, 0.1, 0]),
    ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "é😀", "a\"b", "\n\n\n"], ["", "a", "abcd", "é😀éa"]),
    ({"type": "string", "maxLength": 0}, [""], ["a"]),
    ({"type": "string", "minLength": 3}, ["abc", "a" * 50], ["ab", ""]),
    ({"type": "string", "pattern": "^a+$"}, ["a", "aaa"], ["", "b", "ab", "ba"]),
    ({"type": "string", "pattern": "b[0-9]"}, ["b1", "xxb2yy", "\"b3\\"], ["b", "", "1b"]),
    ({"type": "string", "pattern": "^x|y$"}, ["x", "xab", "aby", "xy"], ["axb", "ya", ""]),
    ({"type": "string", "pattern": "^[^a]$"}, ["\"", "\\", "\n", "b", "é"], ["a", "", "bb"]),
    ({"type": "string", "pattern": "^(a|^b)c"}, ["ac", "bcx"], ["xac", "c"]),
    ({"type": "string", "format": "date"}, ["2024-02-29", "1999-12-31", "2000-02-29"],
     ["2023-02-29", "2024-13-01", "24-01-01", "1900-02-29", "2024-04-31", "x"]),
    ({"type": "string", "format": "uuid"}, ["123e4567-e89b-12d3-a456-426614174000"], ["123e4567", "g23e4567-e89b-12d3-a456-426614174000"]),
    ({"type": "string", "format": "ipv4"}, ["1.2.3.4", "255.255.255.255", "0.0.0.0"], ["256.1.1.1", "1.2.3", "a"]),
    ({"type": "string", "format": "email"}, ["a@b.c", "x.y+z@example.com"], ["a", "ab.c"]),
    ({"enum": ["red", "green", 1, None, [1, 2], {"a": 1}]}, ["red", "green", 1, None, [1, 2], {"a": 1}], ["blue", 2, [1], {}]),
    ({"const": "x\"y"}, ["x\"y"], ["x", 1]),
    ({"const": {"a": [1, {"b": None}]}}, [{"a": [1, {"b": None}]}], [{}, {"a": []}]),
    ({"type": "string", "enum": ["a", 1, "bb"]}, ["a", "bb"], [1, "c"]),
    ({"enum": ["a", "bb", "ccc", 5], "maxLength": 2}, ["a", "bb", 5], ["ccc", 6]),
    ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a", "b"],
      "additionalProperties": False}, [{"a": 1, "b": "x"}], [{"a": 1}, {"b": "x"}, {"a": "1", "b": "x"}, {}, {"a": 1, "b": "x", "c": 1}]),
    ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": "null"}},
      "additionalProperties": False},
     [{}, {"a": 1}, {"b": "x"}, {"c": None}, {"a": 1, "c": None}, {"a": 1, "b": "", "c": None}, {"b": "", "c": None}],
     [{"d": 1}, {"a": None}, {"c": 1}]),
    ({"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "required": ["b"], "additionalProperties": False},
     [{"b": 1}, {"a": 1, "b": 1}, {"b": [], "c": {}}], [{}, {"a": 1}, {"c": 1}, {"a": 1, "c": 1}]),
    ({"type": "object", "properties": {"ab": {"type": "integer"}}, "additionalProperties": {"type": "string"}},
     [{}, {"ab": 1}, {"ab": 1, "a": "x"}, {"abc": "y", "": "z"}, {"b": "q"}], [{"ab": "x"}, {"a": 1}, {"ab": 1, "abc": 2}]),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, [{}, {"x": 1, "y": 2}], [{"x": "a"}, {"x": 1, "y": None}]),
    ({"type": "object", "required": ["x"], "additionalProperties": {"type": "integer"}}, [{"x": 1}, {"x": 1, "y": 2}], [{}, {"x": "a"}]),
    ({"type": "object", "properties": {"n": {"type": "object", "properties": {"m": {"type": "array", "items": {"type": "boolean"}}},
      "required": ["m"]}}, "required": ["n"]}, [{"n": {"m": []}}, {"n": {"m": [True, False]}}], [{"n": {}}, {"n": {"m": [1]}}, {}]),
    ({"type": "array", "items": {"type": "integer"}}, [[], [1], [1, 2, 3]], [["a"], [1, "a"], [None]]),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3}, [[1, 2], [1, 2, 3]], [[], [1], [1, 2, 3, 4]]),
    ({"type": "array", "minItems": 1}, [[1], [[], {}]], [[]]),
    ({"type": "array", "maxItems": 0}, [[]], [[1]]),
    ({"type": "array", "items": False}, [[]], [[1]]),
    ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False, "minItems": 1},
     [[1], [1, "a"]], [[], ["a"], [1, 2], [1, "a", 3]]),
    ({"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "string"}, "maxItems": 3},
     [[], [1], [1, "a"], [1, "a", "b"]], [["a"], [1, 2], [1, "a", "b", "c"]]),
    ({"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "string"}, "minItems": 2}, [[1, "a"]], [[1], []]),
    ({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}, [1, [1, 2]], ["a", ["a"], None]),
    ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, [1, "a"], [None, 1.5]),
    ({"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind", "x"]},
                {"type": "object", "properties": {"kind": {"const": "b"}, "y": {"type": "string"}}, "required": ["kind", "y"]}]},
     [{"kind": "a", "x": 1}, {"kind": "b", "y": ""}], [{"kind": "a", "y": ""}, {"kind": "c"}, {}]),
    ({"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 5}]}, [3, 4, 5], [2, 6, "a"]),
    ({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
                {"properties": {"b": {"type": "string"}}, "required": ["b"]}]}, [{"a": 1, "b": "x"}], [{"a": 1}, {"b": "x"}, {}]),
    ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "additionalProperties": False,
      "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, [{"a": 1}, {"b": 1}, {"a": 1, "b": 1}], [{}, {"c": 1}]),
    ({"allOf": [{"$ref": "#/$defs/p"}, {"maximum": 10}], "$defs": {"p": {"type": "integer", "minimum": 1}}}, [1, 10], [0, 11]),
    ({"$ref": "#/definitions/t", "definitions": {"t": {"enum": ["u"]}}}, ["u"], ["v"]),
    ({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"v": {"type": "integer"}, "next":
      {"anyOf": [NODE, {"type": "null"}]}}, "required": ["v", "next"], "additionalProperties": False}}},
     [{"v": 1, "next": None}, {"v": 1, "next": {"v": 2, "next": {"v": 3, "next": None}}}],
     [{"v": 1}, {"v": 1, "next": {}}, {"v": 1, "next": {"v": 2}}]),
    ({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}, "required": ["children"]},
     [{"children": []}, {"children": [{"children": []}, {"children": [{"children": []}]}]}], [{}, {"children": [1]}, {"children": [{}]}]),
    ({"title": "T", "description": "d", "type": "object", "properties": {"a b": {"type": "number", "default": 3}, "é\"": {"const": 1}},
      "required": ["a b", "é\""]}, [{"a b": 1.5, "é\"": 1}], [{"a b": 1.5}, {"a b": "", "é\"": 1}]),
    ({"type": "object", "properties": {"a": False, "b": {}}}, [{"b": 1}, {}], [{"a": 1}]),
]


def schemas():
    checker = jsonschema.FormatChecker()
    result = []
    for schema, valid, invalid in SCHEMAS:
        validator = jsonschema.Draft202012Validator(schema, format_checker=checker)
        for value in valid:
            assert validator.is_valid(value), (schema, value)
        for value in invalid:
            assert not validator.is_valid(value), (schema, value)
        compact = lambda v: json.dumps(v, ensure_ascii=False, separators=(",", ":"))
        result.append({"schema": schema, "valid": [compact(v) for v in valid], "invalid": [compact(v) for v in invalid]})
    return result


OUT.mkdir(parents=True, exist_ok=True)
for name, content in (("regexes", regexes()), ("schemas", schemas())):
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in content)
    (OUT / f"{name}.json").write_text(f"[\n{lines}\n]\n")
