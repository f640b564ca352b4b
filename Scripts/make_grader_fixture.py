"""Writes Tests/Fixtures/rollout/answers.json: pairs of answer and label, and whether slime's `math` reward counts them as equal.

The rule, as slime documents it: equal once normalised as for the MATH dataset, or equal element by element as numbers or
expressions (sympy), where integers must be given as integers and fractions in lowest terms. `rule` is a transcription of it
with sympy and pylatexenc. Pairs written by hand say what they should be; where the rule as transcribed differs because its
LaTeX reader gets a formula wrong, the pair is listed in MISREAD and the mathematics decides.
"""

import json
import random
import re
from fractions import Fraction
from pathlib import Path

import sympy
from pylatexenc.latex2text import LatexNodes2Text
from sympy.parsing.sympy_parser import (
    implicit_multiplication_application, parse_expr, standard_transformations)

UNITS = ("degree", "cm", "centimeter", "meter", "mile", "second", "minute", "hour", "day", "week", "month", "year",
         "foot", "feet", "inch", "yard")
BRACKETS = "()[]"


def without_text(answer):
    match = re.search(r"^\\text\{(.+?)\}$", answer)
    return match[1] if match else answer


# --- The MATH dataset's normalisation

def braced_fractions(text):
    head, *parts = text.split("\\frac")
    result = head
    for part in parts:
        result += "\\frac"
        if part.startswith("{"):
            result += part
        elif len(part) < 2:
            return text
        elif part[1] == "{":
            result += "{" + part[0] + "}" + part[1:]
        else:
            result += "{" + part[0] + "}{" + part[1] + "}" + part[2:]
    return result


def braced_roots(text):
    return re.sub(r"\\sqrt(?=[^{])(.)", r"\\sqrt{\1}", text)


def normalised(answer):
    text = without_text(answer.strip()).strip()
    text = text.replace("\n", "").replace("\\!", "").replace("\\\\", "\\")
    text = text.replace("tfrac", "frac").replace("dfrac", "frac").replace("\\left", "").replace("\\right", "")
    text = text.replace("^{\\circ}", "").replace("^\\circ", "").replace("\\$", "")
    if text.count("\\text{ ") == 1:
        text = text.split("\\text{ ")[0]
    text = text.replace("\\%", "").replace(" .", " 0.").replace("{.", "{0.")
    if not text:
        return text
    text = "0" + text if text[0] == "." else text
    sides = text.split("=")
    if len(sides) == 2 and len(sides[0]) <= 2:
        text = sides[1]
    text = braced_fractions(braced_roots(text).replace(" ", ""))
    if text == "0.5":
        return "\\frac{1}{2}"
    if re.fullmatch(r"-?\d+/-?\d+", text):
        return "\\frac{%d}{%d}" % tuple(map(int, text.split("/")))
    return text


# --- Numbers and expressions

def without_thousands(text):
    while (shorter := re.sub(r"(\d),(\d\d\d)($|\D)", r"\1\2\3", text)) != text:
        text = shorter
    return text


def is_integer(text):
    try:
        value = float(without_thousands(text))
        return abs(value - int(round(value))) <= 1e-7
    except (ValueError, OverflowError):
        return False


def plain(answer):
    text = without_text(answer)
    text = text.replace("\\%", "%").replace("\\$", "$").replace("$", "").replace("%", "")
    text = text.replace(" or ", " , ").replace(" and ", " , ")
    for word, power in (("million", 6), ("billion", 9), ("trillion", 12)):
        text = text.replace(word, f"*10^{power}")
    for unit in UNITS:
        text = re.sub(unit + r"(es)?(s)? *(\^[0-9]+)?", "", text)
    text = re.sub(r"\^ *\\circ", "", text)
    if text[:1] == "{" and text[-1:] == "}":
        text = text[1:-1]
    text = re.sub(r",\\! *", "", text)
    if is_integer(text) and "," not in text:
        text = str(int(round(float(text))))
    if "\\" in text:
        text = text.replace("\\tfrac", "\\frac").replace("\\dfrac", "\\frac").replace("\\frac", " \\frac")
        text = LatexNodes2Text().latex_to_text(text)
        for symbol, name in (("√", "sqrt"), ("π", "pi"), ("∞", "inf"), ("∪", "U"), ("·", "*"), ("×", "*")):
            text = text.replace(symbol, name)
        text = text.strip()
    text = re.sub("- *", "-", text)
    text = re.sub("([0-9]) +([0-9])", r"\1+\2", text)
    text = re.sub("[ {}]", "", text).lower()
    return str(int(float(text.replace(",", "")))) if is_integer(text) else text


def elements(text):
    text = without_thousands(text)
    inner = text[1:-1]
    if len(text) > 2 and text[0] in BRACKETS and text[-1] in BRACKETS and not any(c in BRACKETS for c in inner):
        return [part.strip() for part in inner.split(",")]
    return [text]


def is_fraction(text):
    return re.search(r"^-?[0-9]+.?/0*[1-9][0-9]*.?$", text) is not None


def same_value(a, b):
    text = f"({a})-({b})"
    letters = {c for c in text.replace("sqrt", "").replace("frac", "") if c.isalpha()}
    if len(letters) > 2 or "^{" in text or "^(" in text or re.search(r"\^[0-9]+\^|\^[0-9][0-9]+", text):
        return False
    try:
        transformations = standard_transformations + (implicit_multiplication_application,)
        return bool(sympy.simplify(parse_expr(text.replace("^", "**"), transformations=transformations)) == 0)
    except Exception:
        return False


def rule(answer, label):
    if normalised(answer) == normalised(label):
        return True
    given, wanted = plain(answer), plain(label)
    if given == wanted:
        return True
    if not given:
        return False
    parts, wanted_parts = elements(given), elements(wanted)
    if len(parts) != len(wanted_parts):
        return False
    if len(wanted_parts) > 1 and (given[0] != wanted[0] or given[-1] != wanted[-1]):
        return False
    for a, b in zip(parts, wanted_parts):
        if is_fraction(a) and is_fraction(b):
            if a != b:
                return False
        elif is_integer(a) != is_integer(b) or not same_value(b, a):
            return False
    return True


# --- Pairs

EQUAL = [
    ("42", "42"), (" 42 ", "42"), ("42.0", "42"), ("-7", "- 7"), ("+3", "3"), ("007", "7"), ("1,234", "1234"),
    ("1,234,567", "1234567"), ("1{,}000", "1000"), ("12\\!345", "12345"), ("10,\\!000", "10000"), ("3.50", "3.5"),
    (".5", "0.5"), ("0.5", "\\frac{1}{2}"), ("0.25", "1/4"), ("-0.75", "-\\frac{3}{4}"), ("\\frac12", "1/2"),
    ("\\dfrac{1}{2}", "\\tfrac{1}{2}"), ("\\frac1{2}", "\\frac{1}2"), ("\\frac{-1}{2}", "-\\frac{1}{2}"),
    ("-\\frac{1}{2}", "-0.5"), ("3/4", "\\frac{3}{4}"), ("7/2", "3.5"), ("3\\frac{1}{2}", "\\frac{7}{2}"), ("3 1/2", "3.5"),
    ("2\\frac{3}{4}", "2.75"), ("\\frac{10}{3}", "3\\frac{1}{3}"), ("50\\%", "50"), ("50%", "50\\%"), ("12.5\\%", "12.5"),
    ("\\$5", "5"), ("$5$", "5"), ("\\$1,250", "1250"), ("\\$4.50", "4.5"), ("5\\text{ cm}", "5"), ("5 cm", "5"),
    ("5cm", "5\\text{ cm}"), ("12\\text{ inches}", "12"), ("3 hours", "3"), ("16\\text{ square units}", "16"),
    ("7\\text{ meters}", "7"), ("100 cm^2", "100"), ("45^\\circ", "45"), ("45^{\\circ}", "45"), ("45 degrees", "45"),
    ("90^ \\circ", "90"), ("3 \\text{ feet}", "3"), ("2 weeks", "2"), ("6 million", "6000000.5-0.5"),
    ("x=5", "5"), ("x = 5", "5"), ("k=\\frac{1}{2}", "\\frac{1}{2}"), ("y = -3", "-3"), ("2 x + 1", "2x+1"),
    ("x+1", "1+x"), ("(x+1)^2", "x^2+2x+1"), ("(x-1)(x+1)", "x^2-1"), ("2(x+y)", "2x+2y"), ("x(x+1)", "x^2+x"),
    ("\\frac{x}{2}", "x/2"), ("\\frac{x}{2}", "0.5x"), ("x^2y", "yx^2"), ("-x^2", "-(x^2)"), ("a-b", "-b+a"), ("2x", "x*2"),
    ("2 \\cdot x", "2x"), ("2 \\times 3x", "6x"), ("x^{2}", "x^2"), ("3x^{2} + 2", "2+3x^2"), ("x^{-1}", "1/x"),
    ("\\sqrt{8}", "2\\sqrt{2}"), ("2\\sqrt{3}", "\\sqrt{12}"), ("\\sqrt2", "\\sqrt{2}"), ("\\frac{\\sqrt{2}}{2}", "\\frac{1}{\\sqrt{2}}"),
    ("\\sqrt{50}", "5\\sqrt{2}"), ("\\frac{3\\sqrt{5}}{5}", "\\frac{3}{\\sqrt{5}}"), ("1+\\sqrt{2}", "\\sqrt{2}+1"),
    ("\\sqrt{2}\\sqrt{3}", "\\sqrt{6}"), ("\\sqrt{x}", "\\sqrt x"), ("-\\sqrt{5}", "- \\sqrt{5}"), ("\\sqrt{\\frac{1}{2}}", "\\frac{\\sqrt{2}}{2}"),
    ("2\\pi", "2 \\pi"), ("\\pi", "pi"), ("\\frac{\\pi}{2}", "0.5\\pi"), ("\\frac{3\\pi}{4}", "0.75\\pi"), ("\\pi\\cdot 4", "4\\pi"),
    ("6\\pi+2", "2+6\\pi"), ("10^{-3}", "0.001"), ("2^{-1}", "0.5"), ("2^{-1}", "\\frac{1}{2}"), ("4.5 \\times 10^2", "450.0+0.0*1"),
    ("2^{10}", "2^{10}"), ("x^{10}", "x^{10}"), ("(1,2)", "(1, 2)"), ("( 1 , 2 )", "(1,2)"), ("\\left(1,2\\right)", "(1,2)"),
    ("(0.5,1)", "(\\frac{1}{2},1)"), ("(-1,0.25)", "(-1,\\frac{1}{4})"), ("[1,2)", "[1, 2)"), ("[0,1]", "[0,1]"),
    ("(-\\infty, 3]", "(-\\infty,3]"), ("\\left[-2,\\infty\\right)", "[-2,\\infty)"), ("(1,2,3)", "(1, 2, 3)"),
    ("(-\\infty,1)\\cup(2,\\infty)", "(-\\infty, 1) \\cup (2, \\infty)"), ("(x+1,2)", "(1+x,2)"), ("(2\\pi,1)", "(\\pi*2,1)"),
    ("\\{1,2,3\\}", "\\{1, 2, 3\\}"), ("\\{1,2\\}", "1,2"), ("1 or 2", "1, 2"), ("1 and 2", "1,2"), ("1, 2", "1,2"),
    ("\\text{east}", "east"), ("East", "east"), ("\\text{Yes}", "yes"), ("\\text{(A)}", "(A)"), ("(A)", "(a)"), ("B", "\\text{B}"),
    ("\\text{even}", "\\text{Even}"), ("\\mathrm{Monday}", "Monday"), ("\\text{ two }", "two"), ("no solution", "No Solution"),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}"), ("\\alpha", "\\alpha"), ("2\\theta", "\\theta\\cdot 2"),
    ("1 \\pm \\sqrt{2}", "1\\pm\\sqrt{2}"), ("x\\le 3", "x \\leq 3"), ("x \\ge 1", "x\\geq1"), ("x<3", "x < 3"), ("\\emptyset", "\\emptyset"),
    ("3+4i", "4i+3"), ("2i", "i*2"), ("y=2x+3", "y = 2x+3"), ("a_1", "a_{1}"), ("11\\,cm", "11"), ("\\frac{2x}{3}", "2x/3"),
    ("\\frac{7}{3}", "\\frac{7}{3}"), ("2/4", "0.5"), ("{5}", "5"), ("\\left\\{1,2\\right\\}", "\\{1,2\\}"), ("5.", "5"),
    ("1e3", "1000"), ("0.333", ".333"), ("-.5", "-0.5"), ("\\frac{1}{3}", "1/3"), ("4\\text{ hours}", "4 hours"),
    ("\\ln(2)+1", "1+\\ln(2)"), ("8\\text{ o'clock}", "8"), ("1:2", "1 : 2"), ("2:30", "2:30"), ("\\overline{AB}", "AB"),
]

DIFFERENT = [
    ("41", "42"), ("", "1"), ("42.1", "42"), ("-7", "7"), ("1,234", "1,235"), ("1.234", "1234"), ("12,34", "1234"),
    ("\\frac{2}{4}", "\\frac{1}{2}"), ("2/4", "1/2"), ("\\frac{6}{8}", "3/4"), ("-\\frac{2}{6}", "-\\frac{1}{3}"), ("10/4", "5/2"),
    ("\\frac{1}{3}", "0.333"), ("0.333", "1/3"), ("\\frac{1}{2}", "\\frac{1}{3}"), ("\\frac{2}{1}", "2"), ("4/2", "2"),
    ("\\frac{-1}{2}", "\\frac{1}{2}"), ("3\\frac{1}{2}", "\\frac{3}{2}"), ("3.14", "\\pi"), ("3.14159", "\\pi"), ("22/7", "\\pi"),
    ("1.414", "\\sqrt{2}"), ("1.41421356237", "\\sqrt{2}"), ("\\sqrt{2}", "\\sqrt{3}"), ("2\\sqrt{2}", "\\sqrt{6}"), ("\\sqrt{4}", "2"),
    ("2^{10}", "1024"), ("2^3", "8"), ("5!", "120"), ("1024.5", "2^{10}"), ("50\\%", "0.5"), ("0.5\\%", "0.005"), ("\\$5", "6"),
    ("5\\text{ cm}", "6\\text{ cm}"), ("45^\\circ", "54^\\circ"), ("x=5", "6"), ("x=5", "x=6"), ("xyz=5", "5"), ("x+1", "x+2"),
    ("x+1", "x-1"), ("x+y", "x-y"), ("x", "y"), ("2x", "x^2"), ("(x+1)^2", "x^2+1"), ("x^2", "x^3"), ("\\sqrt{x^2}", "x"),
    ("(1,2)", "(2,1)"), ("(1,2)", "[1,2]"), ("(1,2)", "(1,2]"), ("(1,2)", "(1,2,3)"), ("(1,2)", "1"), ("(1,2)", "(1,3)"),
    ("(-\\infty,3]", "(-\\infty,3)"), ("(-\\infty,3]", "(\\infty,3]"), ("[1,2]\\cup[3,4]", "[1,2]\\cap[3,4]"), ("\\{1,2\\}", "\\{2,1\\}"),
    ("\\{1,2\\}", "\\{1,2,3\\}"), ("1, 2", "2, 1"), ("1 or 2", "1"), ("east", "west"), ("east", "seat"), ("\\text{east}", "\\text{eats}"),
    ("\\text{yes}", "no"), ("(A)", "(B)"), ("A", "D"), ("Monday", "Tuesday"), ("listen", "silent"), ("abc", "cab"),
    ("6 million", "6000000"), ("\\emptyset", "0"), ("\\infty", "-\\infty"), ("1 \\pm \\sqrt{2}", "1+\\sqrt{2}"), ("x<3", "x>3"),
    ("x \\le 3", "x<3"), ("3+4i", "3-4i"), ("a_1", "a_2"), ("1:2", "2:1"), ("1:2", "1/2"), ("2:30", "2:31"), ("AB", "\\overline{AC}"),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 2 \\\\ 1 \\end{pmatrix}"), ("0", "0.0001"), ("1", "1.00001"),
    ("9^{9^{9}}", "3"), ("((((((", "1"), ("x+", "x"), ("2\\pi r", "2\\pi R^2"), ("abc+d", "d+abc"), ("y=2x+3", "y=3+2x"),
    ("2^{x+1}", "2\\cdot 2^x"), ("10000000000000001", "10000000000000003.5"), ("0.1", "0.01"),
    ("\\frac{0}{5}", "0"), ("1/0", "2/0"), ("\\frac{1}{0}", "1"), ("-0.5", "0.5"), ("5 apples", "5"),
    ("\\sqrt[3]{2}", "2^{1/3}"),
]

# The LaTeX reader of the transcription loses brackets, indices of roots or the sign of a mixed number.
MISREAD_EQUAL = [
    ("\\frac{x+1}{2}", "\\frac{1+x}{2}"), ("\\frac{x+1}{2}", "0.5x+0.5"), ("\\frac{1}{2x}", "\\frac{0.5}{x}"),
    ("\\frac{1+\\sqrt{5}}{2}", "0.5+\\frac{\\sqrt{5}}{2}"), ("\\frac{-1+\\sqrt{3}}{2}", "\\frac{\\sqrt{3}-1}{2}"),
    ("\\sqrt[3]{16}", "2\\sqrt[3]{2}"), ("-3\\frac{1}{2}", "-3.5"), ("-1\\frac{1}{4}", "-\\frac{5}{4}"),
    ("(\\sqrt{8}, 1)", "(2\\sqrt{2}, 1)"), ("2\\,000", "2000"), ("\\mbox{east}", "east"),
]
MISREAD_DIFFERENT = [
    ("\\frac{x+1}{2}", "x+\\frac{1}{2}"), ("\\sqrt[3]{2}", "\\sqrt{2}"), ("\\frac{1}{2x}", "\\frac{x}{2}"),
    ("-3\\frac{1}{2}", "-2.5"), ("\\frac{a+b}{c}", "a+\\frac{b}{c}"), ("x^{y+1}", "x^{y}+1"),
]


def generated(random):
    """Numbers and expressions in two spellings, or in one and that of a near miss."""
    def fraction(value):
        style = random.choice(("\\frac{%d}{%d}", "\\dfrac{%d}{%d}", "%d/%d"))
        return ("-" if value < 0 else "") + style % (abs(value.numerator), value.denominator)

    for _ in range(60):
        value = Fraction(random.randint(-40, 40) or 1, random.choice((2, 4, 5, 8, 10, 16, 20, 25)))
        decimal = format(float(value), "g")
        other = value + Fraction(random.choice((-1, 1)), random.choice((8, 10, 100)))
        if value.denominator > 1:
            yield fraction(value), decimal
            yield fraction(value), format(float(other), "g")
            factor = random.randint(2, 5)
            yield fraction(value), "\\frac{%d}{%d}" % (value.numerator * factor, value.denominator * factor)
    for _ in range(40):
        a, b = random.randint(2, 9), random.choice((2, 3, 5, 6, 7))
        yield f"{a}\\sqrt{{{b}}}", f"\\sqrt{{{a * a * b}}}"
        yield f"{a}\\sqrt{{{b}}}", f"\\sqrt{{{a * a * b + random.choice((-1, 1))}}}"
        yield f"\\frac{{{a}}}{{\\sqrt{{{b}}}}}", f"\\frac{{{a}\\sqrt{{{b}}}}}{{{b}}}"
    for _ in range(40):
        a, b, c = (random.randint(-6, 6) for _ in range(3))
        x = sympy.Symbol("x")
        product = sympy.expand((a * x + b) * (x + c))
        miss = product + random.choice((-1, 1, x))
        for value in (product, miss):
            yield f"({a}x{b:+d})(x{c:+d})", str(value).replace("**", "^").replace("*", "")
    for _ in range(30):
        value = random.randint(1000, 9_999_999)
        yield f"{value:,}", str(value)
        yield f"{value:,}", str(value + random.choice((-1, 1, 10)))
        yield f"{value:,}".replace(",", ",\\!"), str(value)
    for _ in range(30):
        parts = [random.choice((str(random.randint(-9, 9)), "\\frac{1}{2}", "\\pi", "x", "\\sqrt{2}", "0.5")) for _ in range(2)]
        left, right = random.choice("(["), random.choice(")]")
        same = f"\\left{left}{parts[0]}, {parts[1]}\\right{right}"
        yield same, f"{left}{parts[0]},{parts[1]}{right}"
        yield same, f"{left}{parts[1]},{parts[0]}{right}"


def main():
    rows = []
    for pairs, same, trusted in (
        (EQUAL, True, True), (DIFFERENT, False, True), (MISREAD_EQUAL, True, False), (MISREAD_DIFFERENT, False, False)):
        for answer, label in pairs:
            found = rule(answer, label)
            if (found == same) != trusted:
                print(f"{answer!r} and {label!r}: the rule says {found}, this file {'' if trusted else 'misread '}{same}")
            rows.append([answer, label, int(same)])
    for answer, label in generated(random.Random(5)):
        rows.append([answer, label, int(rule(answer, label))])
    path = Path(__file__).parent.parent / "Tests/Fixtures/rollout/answers.json"
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    print(f"{len(rows)} pairs, {sum(row[2] for row in rows)} equal")


main()
