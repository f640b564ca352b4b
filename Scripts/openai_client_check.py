"""Drives `slime serve` with OpenAI's own client, and with the lines of SGLang's documentation, and asserts on the answers.

    python Scripts/openai_client_check.py .build/release/slime

Needs the package `openai`. The model is a Qwen3 of two small layers with random weights, written to a temporary folder.
"""

import json, os, random, re, struct, subprocess, sys, tempfile, time, urllib.error, urllib.request

import openai

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KEY, ADMIN_KEY = "secret", "root"
TEMPLATE = (
    "{%- if tools -%}{{ tools | tojson + '\n' }}{%- endif -%}"
    "{%- for message in messages -%}{{ message.role + ':' + message.content + '\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ 'assistant:' }}{%- endif -%}"
)


def write_model(folder):
    hidden, heads, kv_heads, head, inner, vocabulary, layers = 32, 4, 2, 8, 48, 416, 2
    shapes = {"model.embed_tokens.weight": [vocabulary, hidden], "model.norm.weight": [hidden]}
    for i in range(layers):
        layer = f"model.layers.{i}."
        for name, shape in {
            "input_layernorm": [hidden], "post_attention_layernorm": [hidden],
            "self_attn.q_proj": [heads * head, hidden], "self_attn.k_proj": [kv_heads * head, hidden],
            "self_attn.v_proj": [kv_heads * head, hidden], "self_attn.o_proj": [hidden, heads * head],
            "self_attn.q_norm": [head], "self_attn.k_norm": [head], "mlp.gate_proj": [inner, hidden],
            "mlp.up_proj": [inner, hidden], "mlp.down_proj": [hidden, inner],
        }.items():
            shapes[layer + name + ".weight"] = shape
    generator, header, data = random.Random(0), {}, bytearray()
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        values = [1.0] * count if len(shape) == 1 else [generator.gauss(0, 0.2) for _ in range(count)]
        start = len(data)
        data += struct.pack(f"<{count}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(f"{folder}/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)
    config = {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": vocabulary, "hidden_size": hidden,
        "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": head, "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000,
        "max_position_embeddings": 2048, "tie_word_embeddings": True, "attention_bias": False, "eos_token_id": 400,
        "torch_dtype": "float32",
    }
    tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|x|>", "pad_token": "<|x|>",
                 "chat_template": TEMPLATE}
    for name, value in [("config", config), ("tokenizer_config", tokenizer), ("generation_config", {"eos_token_id": 400})]:
        with open(f"{folder}/{name}.json", "w") as file:
            json.dump(value, file)
    with open(f"{ROOT}/Tests/Fixtures/Tokenization/tokenizers/byte/tokenizer.json", "rb") as file:
        content = file.read()
    with open(f"{folder}/tokenizer.json", "wb") as file:
        file.write(content)


def request(url, body=None, key=KEY, method=None):
    """Status and text, as curl gives them."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


HI = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 99},
                                           "b": {"enum": ["x", "y"]}},
          "required": ["a", "b"], "additionalProperties": False}
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a city", "parameters": {
        "type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"type": "integer", "minimum": 1,
                                                                                          "maximum": 9}},
        "required": ["city", "days"], "additionalProperties": False}}}
TIME = {"type": "function", "function": {"name": "get_time", "parameters": {
    "type": "object", "properties": {}, "additionalProperties": False}}}


class Checks:
    def __init__(self, base):
        self.base = base
        self.client = openai.OpenAI(base_url=base + "/v1", api_key=KEY, max_retries=0)

    def models(self):
        listed = self.client.models.list().data
        assert [model.id for model in listed] == ["tiny"] and self.client.models.retrieve("tiny").id == "tiny"
        raises(openai.NotFoundError, lambda: self.client.models.retrieve("other"))

    def completions(self):
        answer = self.client.completions.create(model="tiny", prompt="Hello", max_tokens=8, temperature=0, logprobs=2)
        choice = answer.choices[0]
        assert answer.object == "text_completion" and choice.finish_reason in ("length", "stop")
        assert answer.usage.completion_tokens == 8 and answer.usage.total_tokens == answer.usage.prompt_tokens + 8
        assert len(choice.logprobs.tokens) == len(choice.logprobs.token_logprobs) == len(choice.logprobs.top_logprobs) == 8
        for logprob, top in zip(choice.logprobs.token_logprobs, choice.logprobs.top_logprobs):
            assert 1 <= len(top) <= 2 and abs(max(top.values()) - logprob) < 1e-5
        batch = self.client.completions.create(model="tiny", prompt=["Hello", "a"], max_tokens=8, temperature=0, n=2, echo=True)
        assert [choice.index for choice in batch.choices] == [0, 1, 2, 3]
        assert batch.choices[0].text == batch.choices[1].text == "Hello" + choice.text

    def completion_streams(self):
        arguments = dict(model="tiny", prompt="Hello", max_tokens=20, temperature=0, extra_body={"ignore_eos": True})
        whole = self.client.completions.create(**arguments)
        chunks = list(self.client.completions.create(stream=True, stream_options={"include_usage": True}, **arguments))
        assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == whole.choices[0].text
        assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage and chunks[0].usage is None
        assert chunks[-2].choices[0].finish_reason == "length"

    def chat(self):
        arguments = dict(model="tiny", messages=HI, max_completion_tokens=12, temperature=0, logprobs=True, top_logprobs=3,
                         extra_body={"ignore_eos": True})
        whole = self.client.chat.completions.create(**arguments)
        choice = whole.choices[0]
        assert whole.object == "chat.completion" and choice.message.role == "assistant" and choice.finish_reason == "length"
        assert len(choice.logprobs.content) == 12 and all(len(token.top_logprobs) == 3 for token in choice.logprobs.content)
        assert all(token.top_logprobs[0].logprob >= token.logprob - 1e-5 for token in choice.logprobs.content)
        chunks = list(self.client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **arguments))
        parts = [chunk.choices[0] for chunk in chunks if chunk.choices]
        assert parts[0].delta.role == "assistant" and parts[-1].finish_reason == "length"
        assert "".join(part.delta.content or "" for part in parts) == choice.message.content
        tokens = [token.token for part in parts if part.logprobs for token in part.logprobs.content]
        assert tokens == [token.token for token in choice.logprobs.content] and chunks[-1].usage == whole.usage

    def several(self):
        answer = self.client.chat.completions.create(model="tiny", messages=HI, max_tokens=16, n=3, temperature=1.5)
        assert len({choice.message.content for choice in answer.choices}) == 3
        stream = self.client.chat.completions.create(model="tiny", messages=HI, max_tokens=5, n=3, stream=True)
        ends = [part.index for chunk in stream for part in chunk.choices if part.finish_reason]
        assert sorted(ends) == [0, 1, 2]

    def seeds(self):
        def text(seed):
            return self.client.chat.completions.create(model="tiny", messages=HI, max_tokens=16, seed=seed).choices[0].message.content
        assert text(1) == text(1) and len({text(seed) for seed in range(4)}) > 1

    def stops(self):
        arguments = dict(model="tiny", prompt="Hello", max_tokens=20, temperature=0, extra_body={"ignore_eos": True})
        text = self.client.completions.create(**arguments).choices[0].text
        stop = text[4:6]
        answer = self.client.completions.create(stop=[stop, "never there"], **arguments).choices[0]
        assert answer.finish_reason == "stop" and answer.text == text[: text.index(stop)] and answer.matched_stop == stop
        chunks = self.client.completions.create(stop=stop, stream=True, **arguments)
        assert "".join(chunk.choices[0].text for chunk in chunks) == answer.text

    def schemas(self):
        form = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}
        for seed in range(3):
            answer = self.client.chat.completions.create(model="tiny", messages=HI, max_tokens=200, seed=seed, response_format=form)
            value = json.loads(answer.choices[0].message.content)
            assert 0 <= value["a"] <= 99 and value["b"] in "xy" and answer.choices[0].finish_reason == "stop"

    def errors(self):
        create = self.client.chat.completions.create
        for arguments in [{"messages": []}, {"messages": HI, "temperature": -1}, {"messages": HI, "max_tokens": 10**6},
                          {"messages": HI, "n": 0}, {"messages": HI, "extra_body": {"nonsense": 1}},
                          {"messages": HI, "tools": [{"type": "function"}]},
                          {"messages": HI, "tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "no"}}}]:
            error = raises(openai.BadRequestError, lambda: create(model="tiny", **arguments))
            assert error.status_code == 400 and error.body["message"] and error.body["type"] == "BadRequestError", error.body
        wrong = openai.OpenAI(base_url=self.base + "/v1", api_key="wrong", max_retries=0)
        raises(openai.AuthenticationError, lambda: wrong.models.list())
        assert request(self.base + "/flush_cache")[0] == 401 and request(self.base + "/flush_cache", key=ADMIN_KEY)[0] == 200

    def tools(self):
        create = self.client.chat.completions.create
        for choice, names in [("required", {"get_weather", "get_time"}),
                              ({"type": "function", "function": {"name": "get_weather"}}, {"get_weather"})]:
            arguments = dict(model="tiny", messages=HI, tools=[WEATHER, TIME], tool_choice=choice, max_tokens=400, seed=3,
                             parallel_tool_calls=False)
            answer = create(**arguments).choices[0]
            assert answer.finish_reason == "tool_calls" and answer.message.content is None, answer
            (call,) = answer.message.tool_calls
            assert call.function.name in names and call.type == "function" and call.id.startswith("call_")
            values = json.loads(call.function.arguments)
            if call.function.name == "get_weather":
                assert values["city"] in ("Paris", "Rome") and 1 <= values["days"] <= 9
            pieces, name, ids = "", None, set()
            for chunk in create(stream=True, **arguments):
                for delta in chunk.choices[0].delta.tool_calls or []:
                    pieces += delta.function.arguments or ""
                    name = delta.function.name or name
                    ids |= {delta.id} - {None}
                end = chunk.choices[0].finish_reason
            assert (name, json.loads(pieces), end, len(ids)) == (call.function.name, values, "tool_calls", 1)
        written = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome", "days": 2}}\n</tool_call>'
        arguments = dict(model="tiny", messages=HI, tools=[WEATHER], max_tokens=400,
                         extra_body={"ebnf": f"root ::= {json.dumps('Let me see. ' + written)}"})
        answer = create(**arguments).choices[0]
        assert answer.finish_reason == "tool_calls" and answer.message.content == "Let me see."
        assert json.loads(answer.message.tool_calls[0].function.arguments) == {"city": "Rome", "days": 2}
        assert create(tool_choice="none", **arguments).choices[0].message.content == "Let me see. " + written
        deltas = [chunk.choices[0].delta for chunk in create(stream=True, **arguments)]
        assert "".join(delta.content or "" for delta in deltas) == "Let me see."
        # The conversation goes on with the tool's answer.
        call = answer.message.tool_calls[0]
        history = HI + [answer.message.model_dump(exclude_none=True),
                        {"role": "tool", "tool_call_id": call.id, "content": "Sun"}]
        assert create(model="tiny", messages=history, tools=[WEATHER], max_tokens=4).choices[0].finish_reason

    def native(self):
        """The lines of SGLang's documentation."""
        generate = self.base + "/generate"
        sampling = {"temperature": 0, "max_new_tokens": 16, "ignore_eos": True}
        status, text = request(generate, {"text": "The capital of France is", "sampling_params": sampling})
        one = json.loads(text)
        assert status == 200 and len(one["output_ids"]) == 16 == one["meta_info"]["completion_tokens"]
        tokens = json.loads(request(self.base + "/tokenize", {"prompt": "The capital of France is"})[1])["tokens"]
        assert json.loads(request(generate, {"input_ids": tokens, "sampling_params": sampling})[1])["output_ids"] == one["output_ids"]
        _, text = request(generate, {"text": "The capital of France is", "sampling_params": sampling, "stream": True})
        events = [event for event in text.split("\n\n") if event]
        assert events[-1] == "data: [DONE]" and json.loads(events[-2][6:])["text"] == one["text"]
        batch = json.loads(request(generate, {"text": ["The capital of France is", "b"], "sampling_params": sampling})[1])
        assert [len(entry["output_ids"]) for entry in batch] == [16, 16] and batch[0]["text"] == one["text"]
        back = json.loads(request(self.base + "/detokenize", {"tokens": tokens})[1])
        assert back["text"] == "The capital of France is"
        for path in ["/health", "/health_generate", "/ready", "/ping", "/model_info", "/server_info", "/metrics", "/v1/loads"]:
            assert request(self.base + path)[0] == 200, path
        assert request(generate, {"text": "a", "nonsense": 1})[0] == 400


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        write_model(folder)
        server = subprocess.Popen(
            [program, "serve", "--model-path", folder, "--served-model-name", "tiny", "--port", "0", "--api-key", KEY,
             "--admin-api-key", ADMIN_KEY, "--tool-call-parser", "qwen25"], stdout=subprocess.PIPE, text=True, bufsize=1)
        try:
            line = ""
            while not (found := re.search(r"http://\S+:\d+", line)):
                line = server.stdout.readline()
                assert line, "the server ended"
            checks = Checks(found[0])
            for name in ["models", "completions", "completion_streams", "chat", "several", "seeds", "stops", "schemas",
                         "errors", "tools", "native"]:
                start = time.time()
                getattr(checks, name)()
                print(f"{name}: ok ({time.time() - start:.2f} s)", flush=True)
        finally:
            server.terminate()
            status = server.wait(30)
        assert status == 0, f"the server ended with {status}"
        print("stopped: ok")


main()
