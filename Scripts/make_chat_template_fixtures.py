"""Renders chat templates and small Jinja expressions with `transformers`, as fixtures for ChatTemplateTests.

Needs transformers, tokenizers and jinja2. Run from the root of the repository; writes
Tests/Fixtures/ChatTemplates/{conversations,expressions}.json. The templates beside them follow those that
the model families publish.
"""

import datetime
import json
import pathlib
import random

import jinja2.nodes
import transformers.utils.chat_template_utils as chat
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

FOLDER = pathlib.Path("Tests/Fixtures/ChatTemplates")
NOW = datetime.datetime(2025, 3, 7, 14, 5, 9)


class FrozenTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


chat.datetime = FrozenTime

# --- conversations ---------------------------------------------------------------------------------------------------

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather, e.g. \"sunny\" <b>&amp;</b> 'warm'.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of a city, like Zürich or 東京"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": "integer", "default": 1},
            },
            "required": ["city"],
        },
    },
}
SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Searches.",
        "parameters": {
            "type": "object",
            "properties": {
                "query": {"type": "array", "items": {"type": "object", "properties": {"t": {"type": "array", "items": {"type": "number"}}}}},
                "filter": {"type": "object", "additionalProperties": {"type": "boolean"}},
                "limit": {"type": ["integer", "null"]},
                "mode": {"oneOf": [{"type": "string", "description": "a name"}, {"type": "number", "default": 0.5}]},
                "exact": {"type": "boolean", "nullable": True, "default": False},
            },
            "required": [],
        },
    },
}
NO_PARAMETERS = {"type": "function", "function": {"name": "now", "description": "The time.", "parameters": {"type": "object", "properties": {}}}}


def user(content, **more):
    return {"role": "user", "content": content, **more}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def system(content):
    return {"role": "system", "content": content}


def call(name, arguments, id="abcdefghi"):
    return {"type": "function", "id": id, "function": {"name": name, "arguments": arguments}}


CONVERSATIONS = {
    "one": [user("Hi")],
    "spaces": [user("  Hi \n\n"), assistant("\n Hello  "), user("\tbye\n")],
    "unicode": [user("Grüße 👩‍👩‍👧 e\u0301 \u2028 \u00a0 नमस्ते"), assistant("東京 \U0001F600"), user("ok")],
    "system": [system("Be brief."), user("Hi"), assistant("Hello!"), user("1+1?")],
    "late system": [user("Hi"), system("Be rude."), user("1+1?")],
    "two assistants": [user("Hi"), assistant("A"), assistant("B")],
    "ends with assistant": [system("S /no_think"), user("Hi"), assistant("Hello <b>'you' & \"me\"</b>")],
    "thinking": [user("2*3?"), assistant("<think>\nSix.\n</think>\n\n6"), user("And 7?"), assistant("<think>\nseven\n</think>\n\n7")],
    "reasoning": [user("2*3?"), assistant("6", reasoning_content="\nSix.\n"), user("x"), assistant("7", reasoning_content="Seven")],
    "older reasoning": [user("2*3?"), assistant("6", thinking="Six."), user("x"), assistant("7", reasoning="Seven")],
    "tool call": [
        user("Weather?"),
        assistant("", tool_calls=[call("get_weather", {"city": "Zürich", "days": 2, "x": None, "y": [1.5, True, {"k": "v"}]})]),
        {"role": "tool", "name": "get_weather", "tool_call_id": "abcdefghi", "content": "{\"t\": 21.5}"},
        assistant("21.5 degrees"),
        user("Thanks"),
    ],
    "tool call, null content": [
        user("Weather?"),
        assistant(None, tool_calls=[call("get_weather", "{\"city\": \"Bern\"}")], thinking="Need a tool."),
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "rain"},
    ],
    "two calls": [
        system("Use tools."),
        user("Both?"),
        assistant("Let me see.", tool_calls=[call("get_weather", {"city": "A"}), call("search", {"query": []}, "123456789")]),
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "sun"},
        {"role": "tool", "tool_call_id": "123456789", "content": "none"},
        assistant("Sun."),
        user("Go on"),
        assistant("<think>hm</think>Done"),
    ],
    "bad call id": [user("W?"), assistant(None, tool_calls=[call("get_weather", {}, "short")]), user("x")],
    "content list": [user([{"type": "text", "text": "What is "}, {"type": "image"}, {"type": "text", "text": "this? "}])],
    "tool content list": [user("q"), assistant("a"), {"role": "tool", "content": [{"output": "o"}, {"a": 1}]}],
    "null": [user("Hi"), assistant(None), user("still there?")],
    "developer": [{"role": "developer", "content": "Speak French."}, user("Hi")],
    "missing content": [{"role": "user"}, assistant("x")],
    "number": [user(12), assistant(1.0)],
}
OPTIONS = [
    {"add_generation_prompt": True},
    {"add_generation_prompt": False, "tools": [WEATHER, SEARCH, NO_PARAMETERS]},
    {"add_generation_prompt": True, "tools": [WEATHER], "enable_thinking": False, "reasoning_effort": "high", "tools_in_user_message": False},
    {"add_generation_prompt": True, "documents": [{"title": "A", "text": "First"}, {"title": "B", "n": 2}], "date_string": "1 Jan 2024", "builtin_tools": ["code_interpreter", "get_weather"], "bos_token": "<B>"},
]


def conversations():
    vocabulary = Tokenizer(models.BPE())
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=vocabulary, bos_token="<s>", eos_token="</s>")
    cases = []
    for file in sorted(FOLDER.glob("*.jinja")):
        template = file.read_text()
        tokenizer.chat_template = template

        def run(name, option, field=None):
            messages = json.loads(json.dumps(CONVERSATIONS[name]))
            case = {"template": file.stem, "messages": name, "option": option}
            try:
                arguments = dict(OPTIONS[option])
                if field:
                    case["continue"] = field
                    arguments.update(add_generation_prompt=False, continue_final_message=field)
                case["text"] = tokenizer.apply_chat_template(messages, tokenize=False, **arguments)
                if "generation %}" in template and not field:
                    kept = [{k: v for k, v in m.items() if v is not None} for m in messages]
                    given = {**tokenizer.special_tokens_map, **arguments}
                    texts, ranges = chat.render_jinja_template([kept], chat_template=template, return_assistant_tokens_mask=True, **given)
                    size = lambda n: len(texts[0][:n].encode())
                    case["generated"] = [[size(a), size(b)] for a, b in ranges[0]]
            except Exception:
                case["text"] = None
            cases.append(case)

        for name in CONVERSATIONS:
            for option in range(len(OPTIONS)):
                run(name, option)
            for field in ("content", "reasoning_content"):
                run(name, 0, field)
    texts = {}
    for case in cases:
        if case["text"] is not None:
            case["text"] = texts.setdefault(case["text"], len(texts))
    write("conversations.json", {"now": NOW.isoformat(), "conversations": CONVERSATIONS, "options": OPTIONS, "texts": list(texts), "cases": cases})


# --- expressions -----------------------------------------------------------------------------------------------------

CONTEXT = {
    "i": 7, "j": -3, "z": 0, "f": 2.5, "big": 1e16, "tiny": 1.5e-7, "t": True, "n": None,
    "s": "Hello, World", "u": "Straße ΑΣ é e\u0301 👩‍👧", "w": "  a b\tc \n", "e": "", "q": "it's \"so\"\n\\",
    "l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "le": [], "m": {"b": 1, "a": [1, 2.0, None], "items": "own"},
    "r": [{"name": "x", "v": 2, "d": {"k": "B"}}, {"name": "Y", "v": 1, "d": {"k": "a"}}, {"name": "z", "v": 2}],
    "nested": [[1, [2, [3]]], [], [4]],
}

TEMPLATES = r"""
a{# c #}b|a {#- c -#} b|  {# c #}  \nx
{% if t %}yes{% else %}no{% endif %}
  {% if t %}  \n  x\n  {% endif %}\n  y
  {%+ if t %}  x  {%+ endif %}  y
{%- if t -%}  x  {%- endif -%}  y
x\n\n{%- if t %}\n\ny{% endif %}\n\nz\n
{{ s }}\n{{ i }}\n
x  {{- s -}}  y
{%if t%}{{s}}{%endif%}
{% raw %}{{ x }} {% if %}{% endraw %}z
  {%- raw -%}  {{ x }}  {%- endraw -%}  z
  {% raw %}\n  a\n  {% endraw %}\nz
{% for x in l %}{{ x }},{% endfor %}
{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}
{% for x in l %}{{ loop.previtem }}-{{ x }}-{{ loop.nextitem }};{% endfor %}
{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }}{{ loop.last }} {% endfor %}
{% for x in l if x > 5 %}{{ x }}{% else %}none{% endfor %}
{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}
{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% else %}else{% endfor %}
{% for k, v in m.items() %}{{ k }}={{ v }};{% endfor %}
{% for k, v in m|dictsort %}{{ k }}={{ v }};{% endfor %}
{% for k in m %}{{ k }}{{ loop.cycle('x', 'y') }}{% endfor %}
{% for x in [1, 1, 2, 2, 1] %}{% if loop.changed(x) %}{{ x }}{% endif %}{% endfor %}
{% for x in nested recursive %}[{{ loop(x) if x is iterable else x }}{{ loop.depth }}]{% endfor %}
{% for x in range(3) %}{% for y in range(x) %}{{ loop.index }}{% endfor %}{{ loop.index }}|{% endfor %}
{% for a, b in [[1, 2], [3, 4]] %}{{ a * b }} {% endfor %}
{% for a, (b, c) in [[1, [2, 3]]] %}{{ a + b + c }}{% endfor %}
{% for x in s %}{{ x }}.{% endfor %}
{% for x in nope %}{{ x }}{% else %}empty{% endfor %}
{% for x in i %}{{ x }}{% endfor %}
{% set x = 1 %}{% for y in l %}{% set x = x + y %}{{ x }} {% endfor %}{{ x }}
{% set ns = namespace(a=1, b='x') %}{% for y in l %}{% set ns.a = ns.a + y %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c }}
{% set ns = namespace({'a': 1}) %}{{ ns.a }}{{ ns['a'] }}
{% set ns = namespace() %}{% for y in l if not ns.done %}{{ y }}{% if y == 1 %}{% set ns.done = true %}{% endif %}{% endfor %}
{% set m.x = 1 %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, %}{{ c }}{% set d = () %}{{ d }}
{% set x %}  block {{ i }}{% endset %}[{{ x }}]
{% set x | upper | trim %}  block {{ i }}{% endset %}[{{ x }}]
{% if t %}{% set y = 3 %}{% endif %}{{ y }}
{% if n %}a{% elif z %}b{% elif i %}c{% else %}d{% endif %}
{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% macro f(a, b=2, c=b) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }}|{{ f(1, 3) }}|{{ f(1, c=4) }}|{{ f() }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=2) }}
{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, k=4) }}
{% macro f(x) %}{% if x > 0 %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
{% macro f(x) %}{{ x + f(x) }}{% endmacro %}{{ f(5) }}
{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}in {{ i }}{% endcall %}
{% macro f() %}<{{ caller(1, 2) }}>{% endmacro %}{% call(a, b) f() %}{{ a }}-{{ b }}{% endcall %}
{% macro f() %}x{% endmacro %}{% call f() %}y{% endcall %}
{% macro f() %}{{ later }}{% endmacro %}{% set later = 5 %}{{ f() }}
{% macro f(l) %}{% for x in l %}{{ x }}{% endfor %}{% endmacro %}{{ f(l) | length }}{{ f.name }}{{ f.arguments }}
{% filter upper %}abc {{ s }}{% endfilter %}
{% filter replace('a', 'b') | trim %}  abca  {% endfilter %}
{% print i, s %}
{% generation %}{% set x = 1 %}{{ x }}{% endgeneration %}{{ x }}
{{ cycler('a', 'b').next() }}{% set c = cycler(1, 2) %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}
{% set j = joiner('|') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}
{{ raise_exception('stop') }}
{{ strftime_now('%Y-%m-%d %H:%M:%S %B %b %A %a %j %-d %I %p %y %%') }}
{{ dict(a=1, **{'b': 2}) }}{{ dict([['x', 1]]) }}{{ dict(m, b=3) }}{{ dict.fromkeys('ab', 1) }}
{{ range(3) }}{{ range(3) | list }}{{ range(5, 1, -2) | list }}{{ range(1, 10)[2:5] }}{{ range(3)[-1] }}
{{ range(1000000) }}
{{ l.append(4) }}
{{ m.update({}) }}
{{ l.append is defined }}{{ m.pop is defined }}{{ s.upper is defined }}{{ m.items is callable }}
{{ m.get('b') }}{{ m.get('zz') }}{{ m.get('zz', 3) }}{{ m['items'] }}{{ m.keys() | list }}{{ m.values() }}{{ m.items() }}
{{ r | map(attribute='name') | list }}{{ r | map(attribute='d.k') | list }}{{ r | map(attribute='d.k', default='?') | list }}
{{ r | selectattr('v', 'equalto', 2) | map(attribute='name') | join(',') }}{{ r | rejectattr('d') | list }}
{{ r | selectattr('d') | list | length }}{{ r | selectattr('d.k', 'defined') | list | length }}
{{ r | sort(attribute='name') | map(attribute='name') | list }}{{ r | sort(attribute='v,name', reverse=true) | map(attribute='name') | list }}
{{ r | groupby('v') | list }}{% for g in r | groupby('v') %}{{ g.grouper }}{{ g.list | length }}{% endfor %}
{{ r | sum(attribute='v') }}{{ l | sum }}{{ l | sum(start=10) }}{{ ls | sum }}
{{ r | unique(attribute='v') | map(attribute='name') | list }}{{ ls | unique | list }}{{ ['a', 'A'] | unique(true) | list }}
{{ l | batch(2) | list }}{{ l | batch(2, 'x') | list }}{{ l | slice(2) | list }}{{ range(7) | slice(3, 'x') | list }}
{{ l | select('odd') | list }}{{ l | reject('odd') | list }}{{ ls | select('in', ['a', 'b']) | list }}{{ l | select('>', 1) | list }}
{{ ls | map('upper') | join('-') }}{{ ls | map('replace', 'a', 'x') | list }}{{ l | map('string') | map('length') | list }}
{% set g = l | map('string') %}{{ g | list }}{{ g | list }}{{ g | length }}
{% if r | selectattr('v', 'equalto', 9) %}always{% endif %}
{{ (l | select('odd') | first) }}{{ (le | first) }}{{ le | last is defined }}{{ (l | map('string') | last) }}
{{ m | tojson }}{{ m | tojson(indent=2) }}{{ q | tojson }}{{ u | tojson }}{{ u | tojson(ensure_ascii=true) }}
{{ r | tojson(separators=(',', ':')) }}{{ m | tojson(sort_keys=true) }}{{ {'a': [], 'b': {}} | tojson(indent=4) }}{{ [big, tiny, f, t, n, z] | tojson }}
{{ {1: 'a', none: 2, true: 3, 2.5: 4} | tojson }}{{ {1: 'a', 1.0: 'b', true: 'c'} }}{{ {'a': 1}['a'] }}
{{ nope | tojson }}
{{ {[1]: 2} }}
{{ {'a': 1, 'a': 2} }}{{ [1, 2,] }}{{ (1,) }}{{ ((1)) }}{{ {} }}{{ () }}
{{ nope }}{{ nope.x }}
{{ nope is defined }}{{ m.nope is defined }}{{ m.nope }}{{ m.nope.x }}
{{ nope + 1 }}
{{ nope ~ 'x' }}{{ nope | default('d') }}{{ e | default('d') }}{{ e | default('d', true) }}{{ n | default('d') }}{{ n | d('x', boolean=true) }}
{{ nope == nope2 }}{{ nope == none }}{{ not nope }}{{ nope | length }}{{ nope | list }}{{ nope in l }}{{ 1 in nope }}
{{ none.x is defined }}{{ none.x }}{{ (1).x }}{{ n[0] }}{{ i[0] }}
{{ n.x.y }}
{{ 'a' 'b' "c" }}{{ 'a\n\t\\\'\x41\u00e9\101\q' }}{{ "it's" }}
{{ 1 if t }}{{ 1 if n }}{{ 1 if n else 2 }}{{ (1 if n) is defined }}{{ 1 if n else 2 if z else 3 }}
{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 1 == 1.0 }}{{ t == 1 }}{{ 'a' < 'b' }}{{ [1, 2] < [1, 3] }}{{ 1 in [1.0] }}{{ 'a' not in 'abc' }}
{{ 1 < 'a' }}
{{ 1 in 'abc' }}
{{ n in 'abc' }}
{{ 'a' in i }}
{{ 7 // 2 }}{{ -7 // 2 }}{{ 7 % -3 }}{{ -7 % 3 }}{{ 7 / 2 }}{{ 2 ** 10 }}{{ 2 ** -1 }}{{ 2 ** 0.5 }}{{ -2 ** 2 }}{{ 7.5 // 2 }}{{ -7.5 % 2 }}
{{ 2 ** 3 ** 2 }}{{ -i }}{{ +i }}{{ - - i }}{{ not not i }}{{ -f | abs }}{{ (-f) | abs }}{{ t + t }}
{{ 1 / 0 }}
{{ 1 % 0 }}
{{ 10 ~ 2.0 ~ n ~ t ~ l ~ m ~ s }}{{ 1 + 2 ~ 3 + 4 }}
{{ big }}{{ tiny }}{{ 1e15 }}{{ 123456789012345678.0 }}{{ 0.1 + 0.2 }}{{ 1e22 }}{{ 1.0 }}{{ -0.0 }}{{ 1e-4 }}{{ 1e-5 }}{{ 100000.0 * 10 }}
{{ 0x1F }}{{ 0b101 }}{{ 0o17 }}{{ 1_000 }}{{ 1.5e3 }}{{ 1e2 }}{{ 00 }}
{{ s[0] }}{{ s[-1] }}{{ s[99] }}{{ s[1:4] }}{{ s[::-1] }}{{ s[-3:] }}{{ s[:-3] }}{{ s[::3] }}{{ s[5:2] }}{{ s[10:2:-3] }}{{ u[3:8] }}{{ u | length }}{{ u[::-1] }}
{{ l[0] }}{{ l[-1] }}{{ l[9] }}{{ l[1:] }}{{ l[::-1] }}{{ l.0 }}{{ l[t] }}{{ (1, 2, 3)[1:] }}{{ l['x'] }}{{ l[:none] }}
{{ l['a':] }}
{{ n[1:] }}
{{ m[1:] }}
{{ l[::0] }}
{{ s.upper() }}{{ s.lower() }}{{ u.upper() }}{{ u.lower() }}{{ u | upper }}{{ u | lower }}{{ s.swapcase() }}{{ s | capitalize }}{{ u | title }}{{ s.title() }}{{ "they're bill's" | title }}{{ "they're bill's".title() }}
{{ w.strip() }}|{{ w.lstrip() }}|{{ w.rstrip() }}|{{ 'xxaxx'.strip('x') }}{{ 'abc'.lstrip('ab') }}{{ 'abc'.rstrip('bc') }}{{ w | trim }}{{ 'xax' | trim('x') }}
{{ w.split() }}{{ s.split(', ') }}{{ 'a,b,c'.split(',', 1) }}{{ 'a,b,c'.rsplit(',', 1) }}{{ ''.split() }}{{ ''.split(',') }}{{ ' a  b '.split(' ') }}{{ w.split(none, 1) }}{{ w.rsplit(none, 1) }}{{ 'aXXbXXc'.split('XX') }}
{{ s.split('') }}
{{ 'a\nb\r\nc\n'.splitlines() }}{{ 'a\nb'.splitlines(true) }}{{ s.partition(', ') }}{{ s.rpartition('o') }}{{ s.partition('zz') }}{{ s.rpartition('zz') }}
{{ s.startswith('He') }}{{ s.endswith('ld') }}{{ s.startswith(('x', 'H')) }}{{ s.startswith('l', 2) }}{{ s.endswith('o', 0, 5) }}{{ u.startswith('Straße') }}{{ 'e\u0301'.startswith('e') }}{{ '\u00e9' == 'e\u0301' }}
{{ s.find('o') }}{{ s.rfind('o') }}{{ s.find('zz') }}{{ s.index('W') }}{{ s.count('l') }}{{ s.count('') }}{{ s.find('o', 5) }}{{ u.find('é') }}{{ s.rfind('o', 0, 6) }}
{{ s.index('zz') }}
{{ s.replace('l', 'L') }}{{ s.replace('l', 'L', 1) }}{{ s.replace('', '-') }}{{ s | replace('o', '0') }}{{ s | replace('l', '', 2) }}{{ 'aaa'.replace('aa', 'b') }}{{ i | replace(7, 8) }}
{{ ', '.join(ls) }}{{ ls | join }}{{ l | join('-') }}{{ r | join(',', attribute='name') }}{{ l | join(1) }}
{{ ','.join(l) }}
{{ 'abc'.center(9) }}|{{ 'abc'.center(8, '*') }}|{{ 'abc'.ljust(5) }}|{{ 'abc'.rjust(5, '.') }}|{{ '-42'.zfill(6) }}|{{ 'abc' | center(10) }}|{{ 'abcd'.center(7) }}
{{ 'a\tb'.expandtabs(4) }}{{ 'abc'.removeprefix('a') }}{{ 'abc'.removesuffix('bc') }}{{ 'ABC'.casefold() }}{{ 'a'.isalpha() }}{{ '1'.isdigit() }}{{ 'a1'.isalnum() }}{{ ' '.isspace() }}{{ 'Ab'.isupper() }}{{ 'ab'.islower() }}{{ '²'.isdigit() }}{{ '½'.isnumeric() }}
{{ '%s and %d and %5.2f|%-5s|%05d|%x|%r|%%|%e|%g|%+d|% d' % ('a', 3.9, 2.345, 'b', -42, 255, 'q', 12345.678, 0.0001, 5, 6) }}{{ '%(a)s' % {'a': 1} }}{{ '%s' % l }}{{ '%c' % 'x' }}
{{ '%s %s' % 'a' }}
{{ '%d' % 'a' }}
{{ '%s' % (1, 2) }}
{{ '{} {1}'.format(1, 2) }}
{{ '{} {}'.format(1, 'b') }}{{ '{1}{0}'.format(1, 2) }}{{ '{a}'.format(a=3) }}{{ '{:>5}|{:<5}|{:^5}|{:05d}|{:.2f}|{:,}|{:x}|{!r}|{:*^7}|{:+}|{:e}|{:.1%}|{:g}'.format('a', 'b', 'c', 42, 2.345, 1234567, 255, 'q', 'm', 3, 1234.5, 0.256, 0.00001) }}{{ '{{}}'.format() }}{{ '{0[a]}{0.b}'.format({'a': 1}) }}{{ '{:.3}'.format(3.14159) }}{{ '{:.3}'.format('abcdef') }}{{ '{:8.3f}|{:<8}|{:08.2f}|{}'.format(3.14159, 2.5, -1.5, 1e20) }}
{{ '%s, %s' | format('a', 1) }}{{ '%(x)s' | format(x=2) }}
{{ '3' | int }}{{ 'x' | int }}{{ 'x' | int(5) }}{{ '3.7' | int }}{{ 3.9 | int }}{{ '0x1F' | int(0, 16) }}{{ ' 12 ' | int }}{{ n | int }}{{ t | int }}{{ '1_0' | int }}{{ '1e3' | int }}{{ l | int }}{{ '101' | int(0, 2) }}
{{ '3.5' | float }}{{ 'x' | float }}{{ 'x' | float(1.5) }}{{ 3 | float }}{{ 'inf' | float }}{{ '1e5' | float }}{{ '.5' | float }}{{ n | float }}{{ '-1_0.5' | float }}
{{ 2.5 | round }}{{ 3.5 | round }}{{ 2.675 | round(2) }}{{ 1234 | round(-2) }}{{ 2.1 | round(0, 'ceil') }}{{ 2.19 | round(1, 'floor') }}{{ 5 | round }}{{ 1250 | round(-2) }}{{ 1350 | round(-2) }}{{ -2.5 | round }}{{ 1234.5 | round(-2) }}
{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent(2, blank=true) }}|{{ 'a\nb' | indent('> ') }}|{{ '' | indent }}
{{ 'hello big world' | truncate(9) }}{{ 'hello big world' | truncate(9, true) }}{{ 'hello big world' | truncate(10, false, '', 0) }}{{ 'hello' | truncate(4) }}{{ 'hello big world' | wordcount }}
{{ '<a href="x">\'&' | e }}{{ '<' | escape }}{{ s | safe }}{{ 'a b&c/ü' | urlencode }}{{ {'a': 'b c', 'd': 1} | urlencode }}
{{ ls | sort }}{{ ls | sort(case_sensitive=true) }}{{ l | sort(reverse=true) }}{{ l | sort | reverse | list }}{{ s | reverse }}{{ l | min }}{{ l | max }}{{ ls | min }}{{ ls | max(case_sensitive=true) }}{{ r | max(attribute='v') }}{{ le | min }}
{{ [1, 'a'] | sort }}
{{ m | dictsort }}{{ {'b': 1, 'A': 2} | dictsort }}{{ {'b': 1, 'A': 2} | dictsort(true) }}{{ {'b': 1, 'A': 2} | dictsort(by='value') }}{{ {'b': 1, 'A': 2} | dictsort(reverse=true) }}{{ m | items | list }}{{ m | length }}{{ m | list }}{{ m | first }}
{{ q }}{{ [q, "'", '"', "\t\x01\u200b\ud7ff\U0001F600"] }}{{ [e, n, t, f, [()], {'k': (1,)}] }}{{ [nope] }}
{{ s is string }}{{ i is number }}{{ f is float }}{{ i is integer }}{{ t is integer }}{{ t is boolean }}{{ t is true }}{{ z is false }}{{ n is none }}{{ l is sequence }}{{ m is sequence }}{{ l is mapping }}{{ m is mapping }}{{ s is iterable }}{{ i is iterable }}{{ nope is iterable }}{{ nope is sequence }}
{{ 3 is odd }}{{ 3 is even }}{{ 9 is divisibleby 3 }}{{ 9 is divisibleby(2) }}{{ 1 is eq 1 }}{{ 1 is ne 2 }}{{ 1 is lt 2 }}{{ 2 is ge 3 }}{{ 'a' is in 'abc' }}{{ 1 is in [1] }}{{ n is sameas none }}{{ 'a' is lower }}{{ 'A' is upper }}{{ 1 is not none }}{{ x is not defined }}{{ s is filter }}{{ 'upper' is filter }}{{ 'odd' is test }}{{ range is callable }}{{ s is escaped }}{{ 1 is sameas true }}
{{ x is defined and x }}{{ not x is defined }}{{ t and 'a' }}{{ n or 'b' }}{{ z or e or 'last' }}{{ t and n }}{{ 1 and 2 or 3 }}{{ not t and n }}{{ 'a' if t and not n else 'b' }}
{{ 1 is nosuch }}
{{ 1 | nosuch }}
{% if n %}{{ 1 | nosuch }}{% endif %}ok
{{ foo() }}
{{ i() }}
{{ s.nosuch() }}
{{ s | upper(1) }}
{{ s | replace('a') }}
{% for x in l %}{{ x }}
{% if t %}x{% endfor %}
{% nosuch %}
{{ 1 + }}
{{ (1 }}
{{ 'abc }}
{{ a b }}
{% set 1 = 2 %}
{% endif %}
{{ }}
{% %}
{# open
{{ [1, 2 }}
{{ 1 ! 2 }}
{% include 'x' %}
{% do l %}
{{ __class__ }}{{ s.__class__ }}
{{ s.__class__.x }}
{{ '%s' % s.__class__ }}{{ ''['__class__'] is defined }}{{ m.__len__ is defined }}
{{ l | attr('append') }}{{ m | attr('b') is defined }}{{ r[0].name }}{{ r[0]['d'].k }}{{ r.0.v }}
{{ "a" * 3 }}{{ 3 * "ab" }}{{ l * 2 }}{{ [0] * -1 }}{{ l + le }}{{ (1,) + (2,) }}{{ "a" * 0 }}
{{ l + (1,) }}
{{ 'a' + 1 }}
{{ 'a' * 2.0 }}
{{ l - l }}
{{ -s }}
{{ 2.0.is_integer() }}{{ f.is_integer() }}{{ l.index(2) }}{{ l.count(1) }}{{ m.copy() == m }}{{ l == [3, 1, 2] }}{{ m == {'items': 'own', 'b': 1.0, 'a': [1, 2, none]} }}{{ (1, 2) == [1, 2] }}
{{ {'x': i, s: j}.items() | list }}{{ [1, 2, 3] | length }}{{ 'x' ~ 1 ~ none }}{{ [[1, 2], [3]] | sum(start=[]) }}
{{ s|upper|lower|title }}{{ s | length > 3 and t }}{{ -1 | abs }}{{ (i + j) * 2 - 1 }}{{ i if i > 5 else j }}{{ i > 5 and 'big' or 'small' }}
{% set x = {'a': {'b': [1, {'c': 'deep'}]}} %}{{ x.a.b[1].c }}{{ x['a']['b'][-1]['c'] }}{{ x.a.nope is defined }}{{ x.a.b | length }}
{% set f = s.upper %}{{ f() }}{% set g = range %}{{ g(2) | list }}
{% for m in r %}{% set outer = loop %}{% for k in m %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}
{%- for x in l -%}\n  {{ x }}\n{%- endfor -%}
{% for x in l %}\n  {{ x }}\n{% endfor %}\nend
line1\r\nline2\rline3{{ 'a\r\nb' }}
"""


class Expressions:
    """Random expressions: half of them fail, which has to be a failure for us too."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def atom(self):
        names = list(CONTEXT) + ["nope"]
        literals = ["1", "2", "0", "-1", "3.5", "'a'", "'l'", "''", "true", "none", "[1, 'a']", "{'a': 1}", "(1, 2)", "'%s'", "' x '", "10"]
        return self.random.choice(names if self.random.random() < 0.6 else literals)

    def make(self, depth):
        pick = self.random.choice
        if depth == 0:
            return self.atom()
        a = self.make(depth - 1)
        b = self.make(pick([0, depth - 1]))
        return pick([
            lambda: f"({a} {pick(['+', '-', '*', '/', '//', '%', '~', '**'])} {b})",
            lambda: f"({a} {pick(['==', '!=', '<', '<=', '>', '>=', 'in', 'not in', 'and', 'or'])} {b})",
            lambda: f"{a} | {pick(self.FILTERS)}",
            lambda: f"({a} | {pick(self.FILTERS)})",
            lambda: f"({a} is {pick(self.TESTS)})",
            lambda: f"({a} if {b} else {self.atom()})",
            lambda: f"({a})[{pick(['0', '-1', '1:', ':2', '::-1', b])}]",
            lambda: f"({a}).{pick(self.METHODS)}",
            lambda: f"[{a}, {b}]",
            lambda: f"{{'k': {a}}}",
            lambda: f"not {a}",
            lambda: f"-({a})",
        ])()

    FILTERS = """upper lower trim length list first last join join(',') sort unique|list reverse|list tojson string int float
        round abs capitalize title default(1) default('d',true) replace('l','L') min max sum dictsort items|list map('string')|list
        select|list reject|list select('string')|list batch(2)|list indent wordcount tojson(indent=1) slice(2)|list
        map('length')|list round(1) truncate(6,true) center(7) format(1) count""".split()
    TESTS = """defined undefined none string number mapping sequence iterable true false boolean integer float odd even lower
        upper in(l) eq(1) divisibleby(2) callable not(defined)""".replace("not(defined)", "").split()
    METHODS = """upper() lower() strip() split() split(',') items()|list keys()|list get('a') get('a',1) startswith('a') endswith('d')
        replace('a','b') join(['x','y']) find('l') count('l') title() name a b format(1,2) index(1) rstrip('d') lstrip() splitlines()
        isdigit() capitalize() partition(',') zfill(4) items""".split()


def expressions():
    environment = chat._cached_compile_jinja_template("").environment
    # A slice of a constant that cannot be sliced is undefined when it is folded, and an error otherwise.
    jinja2.nodes.Slice.as_const = lambda *_: (_ for _ in ()).throw(jinja2.nodes.Impossible())
    rendered = {}

    def render(template):
        try:
            text = environment.from_string(template).render(**json.loads(json.dumps(CONTEXT)))
        except OverflowError as error:
            if "Range" not in str(error):
                return  # Python's integers have no bound; ours are 64 bits.
            text = None
        except Exception:
            text = None
        if text is not None and (" at 0x" in text or "j)" in text or len(text) > 2000 or "<" in text and "object" in text):
            return
        rendered[template] = text

    for line in TEMPLATES.strip("\n").split("\n"):
        template = line
        if "'" not in line and '"' not in line:
            template = line.replace("\\n", "\n").replace("\\r", "\r")
        parts = [template] if "{%" in template else template.replace("}}{{", "}}\0{{").split("\0")
        for part in parts:
            render(part)
    written = set(rendered)
    maker = Expressions(7)
    for _ in range(6000):
        render("{{ " + maker.make(maker.random.choice([1, 2, 2, 3])) + " }}")
    failures = [key for key in rendered if rendered[key] is None and key not in written]
    for key in failures[600:]:
        del rendered[key]
    write("expressions.json", {"now": NOW.isoformat(), "context": CONTEXT, "cases": [[k, v] for k, v in rendered.items()]})


def write(name, value):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    (FOLDER / name).write_text(text)
    print(name, len(value["cases"]), "cases,", len(text.encode()), "bytes")


conversations()
expressions()
