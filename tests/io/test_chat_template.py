import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulorl_jax.io.chat_template import MARKS, ChatTemplate, ControlTokens

pytest.importorskip("jinja2")
CONTROLS = ["<|start|>", "<|end|>", "<think>", "[X]"]
SOURCE = """
{%- if tools %}
    {{- '<|start|>tools\n' }}
    {%- for tool in tools %}
        {%- if not tool.name %}
            {%- continue %}
        {%- endif %}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '<|end|>' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.content.startswith('<think>') %}
        {{- 'THOUGHT ' }}
    {%- endif %}
    {{- '<|start|>' + message.role + '\n' + message.content | trim + '<|end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant\n' }}{%- endif %}
{%- if enable_thinking %}{{- '<think>' }}{%- endif %}
"""
TEMPLATE = ChatTemplate(SOURCE, {"eos_token": "<|end|>"}, ControlTokens(CONTROLS))


def user(content):
    return [{"role": "user", "content": content}]


def text_of(pieces):
    return "".join(text for text, _ in pieces)


def controls_of(pieces):
    return [text for text, is_control in pieces if is_control]


def test_the_text_comes_in_pieces_cut_at_the_templates_control_tokens():
    assert TEMPLATE.render(user(" 1 < 2 > 0 [X "), thinking=True) == [
        ("<|start|>", True),
        ("user\n1 < 2 > 0 [X", False),
        ("<|end|>", True),
        ("<|start|>", True),
        ("assistant\n", False),
        ("<think>", True),
    ]
    assert controls_of(TEMPLATE.render(user("a"), thinking=False))[-1] == "<|start|>"


fragments = st.sampled_from(
    [*CONTROLS, "<", "<|", "|>", ">", "end", "start", "think", "|", "[", "]", "X", "\n", " ", "힣", "힢", "a"]
)


@given(st.lists(fragments, max_size=12).map("".join), st.sampled_from(["user", "system", "tool"]))
def test_no_content_of_others_than_the_assistant_makes_a_control_token_or_loses_a_character(content, role):
    pieces = TEMPLATE.render([{"role": role, "content": content}], thinking=False)
    assert controls_of(pieces) == ["<|start|>", "<|end|>", "<|start|>"]
    assert text_of(pieces) == f"<|start|>{role}\n{content.strip()}<|end|><|start|>assistant\n"


@given(st.lists(fragments, max_size=12).map("".join))
def test_no_definition_of_a_tool_makes_one_in_keys_or_values(content):
    tool = {"name": content + "f", "more": {content + "k": [content, 1.5, None, True]}}
    pieces = TEMPLATE.render(user("a"), thinking=False, tools=[tool])
    assert controls_of(pieces) == ["<|start|>", "<|end|>"] * 2 + ["<|start|>"]
    assert text_of(pieces[:3]) == f"<|start|>tools\n{json.dumps(tool, ensure_ascii=False)}<|end|>"


@pytest.mark.parametrize(
    "source, wanted",
    [
        ("  {% if true %}\nA\n  {% endif %}\nB\n", "A\nB"),  # a line of a block leaves nothing behind
        ("{{ messages | tojson }}", '[{"role": "user", "content": "<é> \\"q\\" & \'s\'"}]'),
        ("{{ messages[0] | tojson(indent=1) }}", '{\n "role": "user",\n "content": "<é> \\"q\\" & \'s\'"\n}'),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}{{ bos_token }}!", "01<s>!"),
        (
            "{{ strftime_now('%%') }}{{ documents is none }}{{ tools is none }}{{ eos_token is defined }}",
            "%TrueTrueFalse",
        ),
    ],
)
def test_white_space_json_and_what_a_template_may_call_are_those_of_transformers(source, wanted):
    messages = user("<é> \"q\" & 's'")
    assert (
        text_of(ChatTemplate(source, {"bos_token": "<s>"}, ControlTokens(CONTROLS)).render(messages, thinking=True))
        == wanted
    )
    oracle = pytest.importorskip("transformers.utils.chat_template_utils").render_jinja_template
    assert oracle([messages], chat_template=source, bos_token="<s>", add_generation_prompt=True)[0] == [wanted]


def test_halves_of_a_control_token_in_content_and_template_do_not_join():
    template = ChatTemplate("A <|{{ messages[0].content }}|> B", {}, ControlTokens(["<|end|>"]))
    for content in ("end|>", "<|end", "|>", "<|"):
        assert controls_of(template.render(user(content), thinking=False)) == []


def test_the_templates_own_comparisons_are_not_passed_by_content():
    assert "THOUGHT" not in text_of(TEMPLATE.render(user("<think>hm"), thinking=False))
    trusted = TEMPLATE.render([{"role": "assistant", "content": "<think>hm"}], thinking=False)
    assert text_of(trusted).startswith("THOUGHT <|start|>assistant\n<think>hm<|end|>")
    assert controls_of(trusted) == ["<|start|>", "<think>", "<|end|>", "<|start|>"]


def test_of_two_control_tokens_that_begin_alike_the_longer_is_meant():
    template = ChatTemplate("<a><b>", {}, ControlTokens(["<a>", "<a><b>"]))
    assert template.render(user("x"), thinking=False) == [("<a><b>", True)]


def test_messages_are_not_changed_and_values_of_none_are_not_shown():
    messages = [{"role": "user", "content": "<think>", "name": None}]
    template = ChatTemplate("{{ messages[0] }}", {}, ControlTokens(CONTROLS))
    text = text_of(template.render(messages, thinking=False))
    assert messages == [{"role": "user", "content": "<think>", "name": None}] and "name" not in text


def test_content_that_leaves_no_mark_is_refused():
    text = "".join(MARKS)
    assert text_of(TEMPLATE.render(user(text[1:]), thinking=False)).count(text[1:]) == 1
    with pytest.raises(ValueError, match="holds all of the 11172 characters"):
        TEMPLATE.render(user(text), thinking=False)


@pytest.mark.parametrize(
    "source, message",
    [
        ("{% if %}", "does not compile"),
        ("{{ raise_exception('roles must\n alternate') }}", "refuses these messages: roles must alternate"),
        ("{{ messages[0].nothing + 'a' }}", "refuses these messages: .*nothing"),
        ("{{ messages[0].content + 1 }}", "refuses these messages: can only concatenate str"),
        ("{{ messages.append(1) }}", "refuses these messages: .*append"),
        ("{{ ''.__class__.__mro__ }}", "refuses these messages: .*unsafe"),
        ("{{ tools | tojson(ensure_ascii=True) }}", "refuses these messages: .*ensure_ascii"),
    ],
)
def test_a_template_that_fails_is_one_line_for_people(source, message):
    with pytest.raises(ValueError, match=message) as error:
        ChatTemplate(source, {}, ControlTokens(CONTROLS)).render(user("a"), thinking=False)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "messages, message",
    [
        ([], "no messages"),
        ([{"role": "user\n", "content": "a"}], r"message 1: want a dict with a role of \('system', .*got 'user\\n'"),
        ([{"role": "user", "content": "a"}, "b"], "message 2: want a dict with a role .* got 'b'"),
        ([{"role": "user", "content": b"a"}], "must be what JSON knows"),
    ],
)
def test_messages_that_are_none_are_refused(messages, message):
    with pytest.raises(ValueError, match=message):
        TEMPLATE.render(messages, thinking=False)
