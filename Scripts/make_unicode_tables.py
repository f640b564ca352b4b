"""Writes Sources/Tokenization/Unicode/Tables/*.swift: the Unicode properties that Hugging Face `tokenizers` has.

The package mixes several versions of Unicode (its regular expressions, its normal forms, the Rust standard library),
so every table is measured on the package itself, scalar by scalar. Takes about two minutes.

    python3 Scripts/make_unicode_tables.py
"""

import os
import unicodedata
from tokenizers import Regex, normalizers, pre_tokenizers

FOLDER = os.path.join(os.path.dirname(__file__), "..", "Sources", "Tokenization", "Unicode", "Tables")
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
SCALARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = "Cn Co Cs Lo So Mn Lu Ll Lt Lm Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk Zs Zl Zp Cc Cf".split()
SCRIPTS = """Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali Bhaiksuki
Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma Cham Cherokee Chorasmian
Common Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic Deseret Devanagari Dives_Akuru Dogra Duployan
Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Garay Georgian Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi
Gurmukhi Gurung_Khema Han Hangul Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic Inherited
Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kawi Kayah_Li Kharoshthi
Khitan_Small_Script Khmer Khojki Khudawadi Kirat_Rai Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian
Mahajani Makasar Malayalam Mandaic Manichaean Marchen Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui
Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar Nabataean Nag_Mundari Nandinagari
New_Tai_Lue Newa Nko Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Ol_Onal Old_Hungarian Old_Italic Old_North_Arabian
Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage Osmanya Pahawh_Hmong Palmyrene
Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham SignWriting
Sinhala Sogdian Sora_Sompeng Soyombo Sundanese Sunuwar Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet
Takri Tamil Tangsa Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Todhri Toto Tulu_Tigalari Ugaritic Vai Vithkuqi
Wancho Warang_Citi Yezidi Yi Zanabazar_Square""".split()


def number(value):
    """Five bits a character, lowest first; a character of the upper half says that more follow."""
    text = ""
    while value >= 32:
        text += DIGITS[32 + value % 32]
        value //= 32
    return text + DIGITS[value]


def signed(value):
    return number(2 * value if value >= 0 else -2 * value - 1)


def ranges(scalars):
    """Gap, length, gap, length ... of a set of scalars."""
    text, end, run = "", 0, None
    for c in sorted(scalars) + [None]:
        if run and c == run[1]:
            run[1] += 1
            continue
        if run:
            text += number(run[0] - end) + number(run[1] - run[0])
            end = run[1]
        run = [c, c + 1] if c is not None else None
    return text


def matched(pattern, text):
    """The scalars of `text` that the regular expression matches, and the text without them."""
    rest = normalizers.Replace(Regex(pattern), "").normalize_str(text)
    return set(map(ord, set(text) - set(rest))), rest


def split_by(pre_tokenizer):
    """How many pieces each scalar between two letters makes."""
    return {c: len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "a")) for c in SCALARS}


def categories():
    text, found = "".join(map(chr, SCALARS)), {}
    for name in CATEGORIES:
        found[name], text = (set(range(0xD800, 0xE000)), text) if name == "Cs" else matched(rf"\p{{{name}}}", text)
    assert not text
    return found


def category_runs(found):
    of = {c: i for i, name in enumerate(CATEGORIES) for c in found[name]}
    text, start = "", 0
    for c in range(1, 0x110001):
        if c == 0x110000 or of[c] != of[start]:
            text += DIGITS[of[start]] + number(c - start)
            start = c
    return text


def sets(found):
    """Name, and what to add to and take from a union of general categories."""
    everything = "".join(map(chr, SCALARS))
    assigned = "".join(c for c in everything if ord(c) not in found["Cn"] and ord(c) not in found["Co"])
    digits, punctuation = split_by(pre_tokenizers.Digits(True)), split_by(pre_tokenizers.Punctuation("isolated"))
    whitespace = split_by(pre_tokenizers.Whitespace())
    strip_accents = normalizers.StripAccents()
    rows = [(name, "", matched(rf"\p{{{name}}}", assigned)[0]) for name in ["White_Space", "Emoji", "Extended_Pictographic"]]
    rows += [(name, base, matched(rf"\p{{{name}}}", assigned)[0]) for name, base in
             [("Alphabetic", "Lu Ll Lt Lm Lo Nl"), ("Uppercase", "Lu"), ("Lowercase", "Ll")]]
    rows += [
        ("word", "Lu Ll Lt Lm Lo Nl Mn Mc Me Nd Pc", matched(r"\w", assigned)[0]),
        # What the Rust standard library and crates say, where it differs from the regular expressions' tables.
        ("rust:numeric", "Nd Nl No", {c for c, n in digits.items() if n > 1}),
        ("rust:punctuation", "Pc Pd Ps Pe Pi Pf Po", {c for c, n in punctuation.items() if n > 1}),
        ("rust:word", "Lu Ll Lt Lm Lo Nl Mn Mc Me Nd Pc", {c for c, n in whitespace.items() if n == 1}),
        ("rust:mark", "Mn Mc Me", {c for c in SCALARS if strip_accents.normalize_str(chr(c)) == ""}),
    ]
    text = assigned
    for name in SCRIPTS:
        members, text = matched(rf"\p{{{name}}}", text)
        rows.append((name, "", members))
    assert not text
    for name, base, members in rows:
        union = set().union(*(found[category] for category in base.split()))
        yield " ".join([name, base.replace(" ", "+") or "-", ranges(members - union) or "-", ranges(union - members) or "-"])


def lowercase():
    """Scalar (as a difference), how many scalars it becomes, and these."""
    lower, text, last = normalizers.Lowercase(), "", 0
    for c in SCALARS:
        if (to := lower.normalize_str(chr(c))) != chr(c):
            text += number(c - last) + number(len(to)) + "".join(signed(ord(t) - c) for t in to)
            last = c
    return text


def case_classes():
    """Sets of scalars that `(?i:…)` takes for each other: count, first (as a difference), differences."""
    cased = sorted({ord(x) for c in SCALARS for t in (chr(c).lower(), chr(c).upper(), chr(c).casefold()) if t != chr(c)
                    for x in chr(c) + t} | {ord(x) for c in SCALARS
                                            if (t := normalizers.Lowercase().normalize_str(chr(c))) != chr(c)
                                            for x in chr(c) + t})
    everything, text, last, seen = "\n".join(map(chr, cased)), "", 0, set()
    for c in cased:
        if c in seen:
            continue
        members = sorted(matched(rf"(?i:\x{{{c:x}}})", everything)[0] | {c})
        seen.update(members)
        if len(members) > 1:
            assert members[0] == c, hex(c)
            text += number(len(members)) + number(c - last)
            text += "".join(number(b - a) for a, b in zip(members, members[1:]))
            last = c
    return text


def decompositions():
    """Scalar (as a difference), 4·count + 2·(composes again) + (compatibility), and the full decomposition."""
    form = {name: getattr(normalizers, name)() for name in ("NFC", "NFD", "NFKD")}
    text, last, previous = "", 0, 0
    for c in SCALARS:
        if 0xAC00 <= c < 0xAC00 + 11172:
            continue
        canonical, compatible = form["NFD"].normalize_str(chr(c)), form["NFKD"].normalize_str(chr(c))
        for to, is_compatible in ((canonical, 0), (compatible, 1)):
            if to == chr(c) or is_compatible and to == canonical:
                continue
            composes = not is_compatible and form["NFC"].normalize_str(chr(c)) == chr(c)
            text += number(c - last) + number(4 * len(to) + 2 * composes + is_compatible)
            text += signed(ord(to[0]) - previous) + "".join(number(ord(t)) for t in to[1:])
            last, previous = c, ord(to[0])
    return text


def combining_classes():
    """Scalar (as a difference) and class. The package's table is older than Python's: what it lacks does not reorder."""
    nfd, text, last = normalizers.NFD(), "", 0
    for c in SCALARS:
        if value := unicodedata.combining(chr(c)):
            reorders = nfd.normalize_str("a" + chr(c) + "\u0334") if value > 1 else nfd.normalize_str("a\u0301" + chr(c))
            if reorders[1] == ("\u0334" if value > 1 else chr(c)):
                text += number(c - last) + number(value)
                last = c
    return text


def write(name, comment, text):
    if "\n" not in text:
        text = "\n".join(text[i:i + 116] for i in range(0, len(text), 116))
        lines = "".join(f"    {line}\\\n" for line in text.split("\n"))[:-2] + "\n"
    else:
        lines = "".join(f"    {part}\\\n" if part is not row[-1] else f"    {part}\n"
                        for line in text.strip().split("\n")
                        for row in [[line[i:i + 116] for i in range(0, len(line), 116)]] for part in row)
    with open(os.path.join(FOLDER, f"UnicodeTables+{name[0].upper() + name[1:]}.swift"), "w") as file:
        file.write("// Made by Scripts/make_unicode_tables.py.\n\nextension UnicodeTables {\n")
        file.write(f"  /// {comment}\n  static let {name}: StaticString = \"\"\"\n{lines}    \"\"\"\n}}\n")


if __name__ == "__main__":
    os.makedirs(FOLDER, exist_ok=True)
    found = categories()
    write("categories", "Runs of one general category: its index, and how many scalars it holds for.", category_runs(found))
    write("sets", "Name, general categories, scalars besides those, scalars of those that do not belong.",
          "\n".join(sets(found)))
    write("lowercase", "Scalar (as a difference), how many scalars it becomes, and these as differences.", lowercase())
    write("caseClasses", "Scalars that differ in case only: how many, the first (as a difference), differences.",
          case_classes())
    write("decompositions", "Scalar (as a difference), 4 · count + 2 · (composes again) + (compatibility), scalars.",
          decompositions())
    write("combiningClasses", "Scalar (as a difference), canonical combining class.", combining_classes())
