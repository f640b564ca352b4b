"""Writes Tests/Fixtures/rollout/repetition.json: how far zlib compresses texts that repeat a unit.

Each row's text is its unit, repeated and cut to 12 000 characters; `size` is what zlib makes of the last 10 000 at level 9.
"""

import json
import random
import zlib
from pathlib import Path

random.seed(11)
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["".join(random.choices(ALPHABET, k=random.randint(1, 9))) for _ in range(400)] + ["the", "of", "数学", "größe", "\n\n", "= 42"]


def unit(length):
    text = ""
    while len(text) < length:
        text += random.choice(WORDS) + " "
    return text[:length]


units = ["a", "ab", "wait, ", "So the answer is 4.\n"] + [unit(n) for n in (40, 100, 200, 300, 400, 500, 600, 700, 800, 1000, 1300, 2000, 3000)]
units.append("".join(random.choices("0123456789", k=500)))
rows = []
for u in units:
    text = (u * (12000 // len(u) + 1))[:12000]
    tail = text[-10000:].encode()
    rows.append({"unit": u, "bytes": len(tail), "size": len(zlib.compress(tail, 9))})
path = Path(__file__).parent.parent / "Tests/Fixtures/rollout/repetition.json"
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")
print([round(r["bytes"] / r["size"], 1) for r in rows])
