"""Writes the C shim, the Swift methods and the test's list of the operators in Scripts/operators.txt.

The schemas come from native_functions.yaml, which the torch wheel carries in its torchgen package:

    python3 Scripts/generate_operators.py path/to/native_functions.yaml
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Arguments with these types keep their defaults; nobody here asks for another memory format or layout.
SKIPPED = {"MemoryFormat?", "Layout?", "Device?", "bool?"}

# What the list for the test passes, by Swift type; tensors come from its argument `t`.
SAMPLES = {
    "some TensorScalar": "1", "any TensorScalar": "1", "Int": "1", "[Int]": "[1]", "Double": "0.5", "Bool": "false",
    "[Bool]": "[true, true]", "DType": ".float32", "String": '"a"',
}

# schema type: (C type, C++ expression, Swift type, Swift expression, kind of wrapper)
TYPES = {
    "Tensor": ("ct_tensor", "ctorch::borrow({})", "Tensor", "{}.handle", None),
    "Tensor?": ("ct_tensor", "ctorch::optional({})", "Tensor?", "{}?.handle", None),
    "Tensor[]": ("ct_tensors", "ctorch::tensors({})", "[Tensor]", "{}", "withHandles"),
    "Scalar": ("ct_scalar", "ctorch::scalar({})", "some TensorScalar", "{}.scalar", None),
    "Scalar?": ("ct_optional_scalar", "ctorch::optional({})", "(any TensorScalar)?", "ct_optional_scalar({})", None),
    "int": ("int64_t", "{}", "Int", "Int64({})", None),
    "int?": ("ct_optional_int", "ctorch::optional({})", "Int?", "ct_optional_int({})", None),
    "int[]": ("ct_ints", "ctorch::ints({})", "[Int]", "{}", "withInts"),
    "int[]?": ("ct_ints", "ctorch::optional_ints({})", "[Int]?", "{}", "withOptionalInts"),
    "float": ("double", "{}", "Double", "{}", None),
    "float?": ("ct_optional_double", "ctorch::optional({})", "Double?", "ct_optional_double({})", None),
    "bool": ("bool", "{}", "Bool", "{}", None),
    "bool?": ("ct_optional_int", "ctorch::optional_bool({})", "Bool?", "ct_optional_int({})", None),
    "bool[]": ("ct_ints", "ctorch::bools<{n}>({})", "[Bool]", "{}", "withBools"),
    "ScalarType": ("int32_t", "*ctorch::dtype({})", "DType", "{}.rawValue", None),
    "ScalarType?": ("int32_t", "ctorch::dtype({})", "DType?", "{}?.rawValue ?? -1", None),
    "str": ("const char*", "{}", "String", "{}", "withCString"),
    "str?": ("const char*", "ctorch::optional_text({})", "String?", "{}", "withOptionalCString"),
    "Generator?": ("ct_generator", "ctorch::optional({})", "Generator?", "{}?.handle", None),
}


def camel(name):
    head, *tail = [part for part in name.split("_") if part]
    return head + "".join(part[:1].upper() + part[1:] for part in tail)


def parse(schema):
    match = re.fullmatch(r"([\w.]+)\((.*)\) -> (.*)", schema)
    name, arguments, returns = match.groups()
    parsed = []
    for text in re.split(r", (?![^\[(]*[\])])", arguments):
        if text in ("", "*"):
            continue
        declaration, _, default = text.partition("=")
        kind, argument = declaration.rsplit(" ", 1)
        kind = re.sub(r"\([^)]*\)", "", kind).replace("SymInt", "int")
        size = re.search(r"\[(\d+)\]", kind)
        kind = re.sub(r"\[\d+\]", "[]", kind)
        parsed.append((kind, argument, default or None, size and size.group(1)))
    if returns.startswith("("):
        returns = returns[1:-1]
    returns = [re.sub(r"\([^)]*\)", "", part).split(" ") for part in returns.split(", ") if part]
    return name, parsed, [part[0] for part in returns], [part[1] if len(part) > 1 else None for part in returns]


def swift_default(kind, default):
    if default is None:
        return ""
    table = {"True": "true", "False": "false", "None": "nil", "Mean": "1"}
    default = table.get(default, default)
    if kind.startswith("int[]") and re.fullmatch(r"-?\d+", default):
        default = f"[{default}]"
    default = default.replace("'", '"')
    return f" = {default}"


def listed_in(head, parts, tail, indent):
    """`head` parts `tail` on one line, or the parts on lines of their own."""
    line = " " * indent + head + ", ".join(parts) + tail
    if len(line) <= 120:
        return line
    lines = [" " * (indent + 2)]
    for i, part in enumerate(parts):
        part += "," if i + 1 < len(parts) else ""
        if len(lines[-1]) + len(part) + 1 > 120:
            lines.append(" " * (indent + 2))
        lines[-1] += part if lines[-1].isspace() else " " + part
    return "\n".join([" " * indent + head] + lines + [" " * indent + tail])


def nested_in(wrappers, inner, indent):
    """`inner` (head, parts, tail) inside closures, on one line where it fits."""
    opening = "".join(f"{wrapper}({label}) {{ {label} in " for wrapper, label in wrappers)
    line = " " * indent + opening + inner[0] + ", ".join(inner[1]) + inner[2] + " }" * len(wrappers)
    if len(line) <= 120:
        return line
    if not wrappers:
        return listed_in(*inner, indent)
    (wrapper, label), *rest = wrappers
    body = nested_in(rest, inner, indent + 2)
    return f"{' ' * indent}{wrapper}({label}) {{ {label} in\n{body}\n{' ' * indent}}}"


def generate(name, swift_name, arguments, returns, return_names, method_only):
    base, _, overload = name.partition(".")
    symbol = "ct_op_" + name.replace(".", "_")
    arguments = [a for a in arguments if not (a[0] in SKIPPED and a[2] is not None)]
    c_parameters, call, swift_parameters, swift_arguments, wrappers, kept = [], [], [], [], [], []
    samples, receiver, tensors = [], "Tensor", 0
    method = bool(arguments) and arguments[0][0] == "Tensor" and arguments[0][1] in ("self", "input", "query")
    # ATen functions take `out` first.
    for index, (kind, argument, default, size) in enumerate(arguments):
        c_type, expression, swift_type, value, wrapper = TYPES[kind]
        c_parameters.append(f"{c_type} {argument}")
        call.append(expression.format(argument, n=size))
        if method and index == 0:
            swift_arguments.append("handle")
            kept.append("self")
            receiver, tensors = "t(0)", 1
            continue
        label = camel(argument)
        if label in ("self", "repeat", "where", "in"):
            label = {"self": "tensors" if kind == "Tensor[]" else "value"}.get(label, label + "_")
        unlabelled = index == (1 if method else 0) and kind != "bool?" and (kind != "str" or default is None)
        optional_default = swift_default(kind, default)
        if default is None and kind.endswith("?"):
            optional_default = " = nil"
        swift_type_text = swift_type
        if "some TensorScalar" in swift_type and default is not None:
            swift_type_text = "any TensorScalar"
        if "Tensor" in swift_type and "Scalar" not in swift_type:
            sample = f"[t({tensors})]" if kind == "Tensor[]" else f"t({tensors})"
            tensors += 1
        else:
            sample = None if default is not None or kind.endswith("?") else SAMPLES[swift_type]
        if sample:
            samples.append(sample if unlabelled else f"{label}: {sample}")
        swift_parameters.append(f"{'_ ' if unlabelled else ''}{label}: {swift_type_text}{optional_default}")
        swift_arguments.append(value.format(label))
        if wrapper:
            wrappers.append((wrapper, label))
        if "Tensor" in kind and "Scalar" not in kind:
            kept.append(label)
    writes_out = overload == "out" or overload.endswith("_out")
    if base.endswith("_out") or writes_out:
        call = [call[-1]] + call[:-1]
        base += "_out" if not base.endswith("out") else ""

    single = returns == ["Tensor"]
    boolean = returns == ["bool"]
    listed = returns == ["Tensor[]"]
    count = 0 if single or boolean or listed else len(returns)
    in_place = base.endswith("_") and not base.endswith("__")
    invocation = f"{call[0]}.{base}({', '.join(call[1:])})" if method_only else f"at::{base}({', '.join(call)})"
    # An operator that changes a tensor gives that tensor back: nothing is to be made on the way.
    changed = None
    if single and (in_place or writes_out):
        changed = "out" if writes_out else "self"
        assert changed == "out" or method, name
    if changed:
        c_return, body = "void", f"guarded([&] {{ {invocation}; }});"
    elif single:
        c_return, body = "ct_tensor", f"return guarded<>(ct_tensor{{}}, [&] {{ return give({invocation}); }});"
    elif boolean:
        c_return, body = "bool", f"return guarded<>(false, [&] {{ return {invocation}; }});"
    elif listed and not in_place:
        c_return = "ct_tensor_array"
        body = f"return guarded<>(ct_tensor_array{{}}, [&] {{ return give_array({invocation}); }});"
    elif count:
        c_return = "void"
        c_parameters.append("ct_tensor* results")
        gives = " ".join(f"results[{i}] = give_optional(std::move(std::get<{i}>(all)));" for i in range(count))
        integer = [i for i, r in enumerate(returns) if r != "Tensor"]
        assert not integer, name
        body = f"guarded([&] {{ auto all = {invocation}; {gives} }});"
    else:
        c_return, body = "void", f"guarded([&] {{ {invocation}; }});"
    header = f"CT_API {c_return} {symbol}({', '.join(c_parameters)});"
    source = f"{c_return} {symbol}({', '.join(c_parameters)}) {{\n  {body}\n}}"

    # Swift
    swift_base = swift_name or (camel(base) + ("_" if in_place else ""))
    static = "" if method else "static "
    c_call = f"{symbol}("
    if changed:
        swift_return, inner = " -> Tensor", (f"checked({c_call}", swift_arguments, "))")
    elif single:
        swift_return, inner = " -> Tensor", (f"Tensor(owned: {c_call}", swift_arguments, "))")
    elif boolean:
        swift_return, inner = " -> Bool", (f"checked({c_call}", swift_arguments, "))")
    elif listed and not in_place:
        swift_return, inner = " -> [Tensor]", (f"Tensor.list(owned: {c_call}", swift_arguments, "))")
    elif count:
        labels = [camel(label) + ": " if label else "" for label in return_names]
        swift_return = " -> (" + ", ".join(label + "Tensor" for label in labels) + ")"
        inner = (f"results{count} {{ {c_call}", swift_arguments + ["$0"], ") }")
    else:
        swift_return, inner = "", (f"checked({c_call}", swift_arguments, "))")
    keep = ", ".join(kept)
    if len(kept) > 1:
        keep = f"({keep})"
    lines = ["  @discardableResult"] if changed else []
    lines.append(listed_in(f"public {static}func {swift_base}(", swift_parameters, f"){swift_return} {{", 2))
    if kept:
        lines.append(listed_in("defer { withExtendedLifetime(", [keep], ") {} }", 4))
    result = nested_in(wrappers, inner, 4)
    if swift_return and not changed:
        result = "    return " + result[4:]
        if len(result.split("\n")[0]) > 120:
            result = "    return " + nested_in(wrappers, inner, 11)[11:].replace("\n" + " " * 7, "\n")
    lines.append(result)
    if changed:
        lines.append(f"    return {changed}")
    swift = "\n".join(lines + ["  }"])
    ignored = "_ = " if swift_return else ""
    test = f'    add("{name}", {tensors}) {{ t in {ignored}{receiver}.{swift_base}({", ".join(samples)}) }}'
    if len(test) > 120:
        head = f'add("{name}", {tensors}) {{ t in'
        test = f"    {head}\n{listed_in(f'{ignored}{receiver}.{swift_base}(', samples, ')', 6)}\n    }}"
    return header, source, swift, test


def main():
    text = pathlib.Path(sys.argv[1]).read_text()
    schemas = {}
    for entry in text.split("\n- func: ")[1:]:
        schema = entry.splitlines()[0].split("  #")[0].strip()
        variants = re.search(r"^  variants: (.*)$", entry, re.M)
        schemas[schema.split("(")[0]] = (schema, variants is not None and "function" not in variants.group(1).split("#")[0])
    headers, sources, swifts, tests = [], [], [], []
    for line in (ROOT / "Scripts/operators.txt").read_text().splitlines():
        line = line.split("#")[0].strip()
        if not line:
            continue
        name, _, swift_name = (part.strip() for part in line.partition("->"))
        schema, method_only = schemas[name]
        _, arguments, returns, return_names = parse(schema)
        header, source, swift, test = generate(name, swift_name, arguments, returns, return_names, method_only)
        headers.append(header)
        sources.append(source)
        tests.append(test)
        swifts.append(f"  /// `aten::{name}`\n{swift}")
    note = "// Made by Scripts/generate_operators.py from Scripts/operators.txt. Do not edit.\n"
    base = ROOT / "Sources"
    (base / "CTorch/include/ctorch_operators.h").write_text(note + "#pragma once\n\n" + "\n".join(headers) + "\n")
    (base / "CTorch/operators.cpp").write_text(
        note + '#include "internal.h"\n\nusing namespace ctorch;\n\n' + "\n\n".join(sources) + "\n")
    (base / "Torch/Tensor").mkdir(exist_ok=True)
    (base / "Torch/Tensor/Operators.swift").write_text(
        note + "import CTorch\n\nextension Tensor {\n" + "\n\n".join(swifts) + "\n}\n")
    (ROOT / "Tests/TorchTests/EveryOperator.swift").write_text(
        note + """import Torch

/// Each generated operator, callable with any tensors.
struct EveryOperator {
  struct Entry {
    let name: String
    let tensorCount: Int
    /// Calls it; the closure gives its tensor arguments by position.
    let call: (_ tensor: (Int) -> Tensor) -> Void
  }
  private(set) var entries: [Entry] = []

  private mutating func add(_ name: String, _ tensorCount: Int, _ call: @escaping (_ t: (Int) -> Tensor) -> Void) {
    entries.append(Entry(name: name, tensorCount: tensorCount, call: call))
  }

  init() {
""" + "\n".join(tests) + "\n  }\n}\n")


main()
