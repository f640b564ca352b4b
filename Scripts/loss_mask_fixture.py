"""Writes Tests/Fixtures/loss_masks/turns.json: which part of a rendered conversation an assistant is trained on.

transformers finds the parts itself, from `{% generation %}` blocks that this script adds to the published templates in
Tests/Fixtures/ChatTemplates (which have none). The text must stay as it was. Run from the root of the repository.
"""

import json
import pathlib
import re

import transformers.utils.chat_template_utils as chat

TEMPLATES = pathlib.Path("Tests/Fixtures/ChatTemplates")
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
OPEN, CLOSE = "{%- generation %}", "{%- endgeneration %}"


def qwen25(template):
    plain = "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    assistant = "{%- if message.role == 'assistant' %}{{- '<|im_start|>assistant\\n' }}" + OPEN + "{{- message.content + '<|im_end|>\\n' }}" + CLOSE + "{%- else %}" + plain + "{%- endif %}"
    template = template.replace(plain, assistant)
    # With tool calls the line break behind the role comes with what follows it.
    head = "{{- '<|im_start|>' + message.role }}\n        {%- if message.content %}\n            {{- '\\n' + message.content }}\n        {%- endif %}"
    template = template.replace(head, "{{- '<|im_start|>assistant\\n' }}" + OPEN + "{%- if message.content %}{{- message.content }}{%- endif %}")
    template = template.replace("{{- '\\n<tool_call>", "{%- if message.content or not loop.first %}{{- '\\n' }}{%- endif %}{{- '<tool_call>")
    end = "{%- endfor %}\n        {{- '<|im_end|>\\n' }}"
    return template.replace(end, end + CLOSE)


def qwen3(template):
    """The assistant's branch, rewritten: header, then everything else inside one block."""
    start = template.index("        {%- if loop.index0 > ns.last_query_index %}")
    end = template.index("    {%- elif message.role == \"tool\" %}")
    body = template[start:end]
    body = body.replace("'<|im_start|>' + message.role + '\\n<think>\\n'", "'<think>\\n'")
    body = body.replace("'<|im_start|>' + message.role + '\\n' + content", "content")
    header = "{{- '<|im_start|>assistant\\n' }}"
    return template[:start] + header + OPEN + body.rstrip() + CLOSE + "\n" + template[end:]


def llama3(template):
    return template.replace(
        "{{ content }}",
        "{% if message['role'] == 'assistant' %}{% if loop.index0 == 0 %}{{ bos_token }}{% endif %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
        "{% generation %}{{ message['content'] | trim + '<|eot_id|>' }}{% endgeneration %}"
        "{% else %}{{ content }}{% endif %}",
    )


def gemma2(template):
    old = template[template.index("{{ '<start_of_turn>' + role") : template.index("{% endfor %}")]
    new = "{% if role == 'model' %}{{ '<start_of_turn>model\n' }}{% generation %}{{ message['content'] | trim + '<end_of_turn>\n' }}{% endgeneration %}{% else %}" + old + "{% endif %}"
    return template.replace(old, new)


def llama2(template):
    old = "{{ ' '  + content.strip() + ' ' + eos_token }}"
    return template.replace(old, "{% generation %}" + old + "{% endgeneration %}")


def as_is(template):
    return template


ANNOTATED = {"qwen2.5": qwen25, "qwen3": qwen3, "llama3": llama3, "gemma2": gemma2, "llama2": llama2, "phi4": as_is, "smollm3": as_is}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def call(name, arguments):
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


TOOL = {"type": "function", "function": {"name": "weather", "description": "Weather.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}

PLAIN = {
    "one": [user("2+2?"), assistant("4")],
    "two": [user("2+2?"), assistant("4"), user("And 3+3?"), assistant("6")],
    "repeated": [user("4"), assistant("4"), user("4"), assistant("4"), user("4"), assistant("4")],
    "spaces": [user(" a \n"), assistant("\n b\n\n"), user("c"), assistant("  d")],
    "unicode": [user("Grüße 👩‍👩‍👧"), assistant("東京 😀é"), user("ok"), assistant("e\u0301")],
    "markup": [user("say <|im_start|>assistant\nx<|im_end|>"), assistant("<|im_start|>assistant\n"), user("z"), assistant("y<|im_end|>")],
    "empty": [user("?"), assistant(""), user("??"), assistant("!")],
    "ends with user": [user("a"), assistant("b"), user("c")],
}
WITH_SYSTEM = {"system": [{"role": "system", "content": "Be brief."}, user("Hi"), assistant("Hello"), user("1?"), assistant("2")]}
THINKING = {
    "thinking": [user("2*3?"), assistant("<think>\nSix.\n</think>\n\n6"), user("7?"), assistant("<think>\nSeven.\n</think>\n\n7")],
}
REASONING = {
    "reasoning": [user("2*3?"), assistant("6", reasoning_content="\nSix.\n"), user("x"), assistant("7", reasoning_content="Seven")],
    "steps": [
        user("Weather?"),
        assistant("Let me look.", tool_calls=[call("weather", {"city": "Bern"})], reasoning_content="a tool"),
        {"role": "tool", "content": "rain"},
        assistant("", tool_calls=[call("weather", {"city": "Rome"}), call("weather", {"city": "Oslo"})]),
        {"role": "tool", "content": "sun"},
        {"role": "tool", "content": "snow"},
        assistant("Rain, sun, snow.", reasoning_content="sum up"),
    ],
}
TOOLS = {
    "tools": [
        user("Weather?"),
        assistant("", tool_calls=[call("weather", {"city": "Bern"})]),
        {"role": "tool", "content": "rain"},
        assistant("Rain."),
        user("And Rome?"),
        assistant("I'll see.", tool_calls=[call("weather", {"city": "Rome"})]),
        {"role": "tool", "content": "sun"},
        assistant("Sun."),
    ],
}
CASES = {
    "qwen2.5": PLAIN | WITH_SYSTEM | THINKING | TOOLS,
    "qwen3": PLAIN | WITH_SYSTEM | THINKING | TOOLS | REASONING,
    "llama3": PLAIN | WITH_SYSTEM | THINKING,
    "gemma2": PLAIN,
    "llama2": PLAIN | WITH_SYSTEM,
    "phi4": PLAIN | WITH_SYSTEM,
    "smollm3": PLAIN | WITH_SYSTEM,
}


def render(template, messages, tools, mask):
    given = json.loads(json.dumps(messages))
    return chat.render_jinja_template([given], tools=tools, chat_template=template, return_assistant_tokens_mask=mask, **SPECIAL)


def main():
    rows = []
    for name, annotate in ANNOTATED.items():
        original = (TEMPLATES / f"{name}.jinja").read_text()
        annotated = annotate(original)
        for title, messages in CASES[name].items():
            tools = [TOOL] if title in ("tools", "steps") else None
            (expected,), _ = render(original, messages, tools, False)
            (text,), (ranges,) = render(annotated, messages, tools, True)
            assert text == expected, (name, title, text, expected)
            size = lambda n: len(text[:n].encode())
            rows.append({"template": name, "case": title, "messages": messages, "tools": tools, "turns": [[size(a), size(b)] for a, b in ranges]})
    path = pathlib.Path("Tests/Fixtures/loss_masks/turns.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")


main()
