"""Condenses recorded exchanges with a real SGLang server into Tests/Fixtures/Serving/sglang-shapes.jsonl.

Usage: make_sglang_shapes.py FOLDER_OF_TRANSCRIPTS OUTPUT
Keeps, for each exchange with a route that this server has, the request, the status code, and the keys of the response.
"""
import json, pathlib, sys

ROUTES = {"/generate", "/health", "/ready", "/ping", "/model_info", "/get_model_info", "/v1/models", "/v1/loads",
          "/v1/completions", "/v1/chat/completions", "/abort_request", "/flush_cache", "/pause_generation",
          "/continue_generation", "/nope"}


def shape(value):
  if isinstance(value, dict):
    return {key: shape(item) for key, item in value.items()}
  if isinstance(value, list):
    return [shape(value[0])] if value else []
  return None


seen, lines = set(), []
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jsonl")):
  for line in path.read_text().splitlines():
    exchange = json.loads(line)
    request, response = exchange.get("request"), exchange.get("response")
    if not request or not response or request["path"] not in ROUTES:
      continue
    # What depends on the requests running meanwhile cannot be replayed alone.
    if any(word in exchange["name"] for word in ("victim", "busy", "while", "dup", "prefix")):
      continue
    name = exchange["name"]
    if name in seen or (name[0] == "q" and name[1:].isdigit()):
      continue
    seen.add(name)
    lines.append(json.dumps({"name": name, "request": request, "status": response["status"],
                             "shape": shape(response["body"]) if response["kind"] == "json" else None}))
pathlib.Path(sys.argv[2]).write_text("\n".join(lines) + "\n")
