"""Times the Python package `tokenizers` on one core, for `slime bench tokenizer --python`.

Reads the file that it is given, {"tokenizer": FILE, "rounds": N, "texts": [{"name": NAME, "texts": [TEXT, …]}, …]} and prints, for
each name, the least processor time of N rounds in seconds, with the faster of the package's two ways to encode, and the number of tokens.
"""

import json
import os
import sys
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tokenizers  # noqa: E402  (the environment comes first)


def least(rounds, run):
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    tokenizer = tokenizers.Tokenizer.from_file(job["tokenizer"])
    rows = []
    for corpus in job["texts"]:
        texts = corpus["texts"]
        tokens = sum(len(encoding.ids) for encoding in tokenizer.encode_batch(texts))
        ways = [lambda: [tokenizer.encode(text) for text in texts]]
        if hasattr(tokenizer, "encode_batch_fast"):  # without offsets
            ways.append(lambda: tokenizer.encode_batch_fast(texts))
        seconds = min(least(job["rounds"], way) for way in ways)
        rows.append({"name": corpus["name"], "seconds": seconds, "tokens": tokens})
    json.dump({"version": tokenizers.__version__, "rows": rows}, sys.stdout)


main()
