"""Chat templates: conversations to text in which the template's own control tokens can be told from data.

A template is a program that came with the model, so it runs in a sandbox. What it writes itself is
trusted, and so are the assistant's messages, which it takes apart. All else (contents of users, system
and tools, definitions of tools) is data: whoever writes a problem must not be able to end a turn in it.
"""

import datetime
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ROLES = ("system", "user", "assistant", "tool")
# Hangul syllables: printable, so that no escaping of a template touches them, and many.
MARKS = [chr(code) for code in range(0xD7A3, 0xABFF, -1)]


class ChatTemplate:
    """A chat template, compiled once.

    Args:
      source: Jinja, as in tokenizer_config.json or chat_template.jinja.
      variables: names the template may read, such as "eos_token".
      control_tokens: texts of the tokens that only the template and the assistant may write, each of
        two characters or more.

    Raises:
      ValueError: the template does not compile.
    """

    def __init__(self, source: str, variables: Mapping[str, str], control_tokens: Sequence[str]):
        import jinja2
        import jinja2.sandbox

        self.source = source
        self._variables = dict(variables)
        # The longest first, as tokenizers do where two begin alike.
        by_length = sorted(control_tokens, key=len, reverse=True)
        self._controls = re.compile("|".join(map(re.escape, by_length)) or "(?!)")
        self._first = _any_of(token[0] for token in control_tokens)
        self._last = _any_of(token[-1] for token in control_tokens)
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _now
        self._errors = (jinja2.TemplateError, TypeError, ValueError, LookupError)
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise ValueError(f"the chat template does not compile: {_line(error)}") from error

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        thinking: bool,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[tuple[str, bool]]:
        """A conversation up to where the assistant speaks.

        Inside data each character that may begin or end a control token gets a mark beside it, so that
        neither data alone nor data and template together spell one; nor does data pass the template's
        own comparisons, such as for "<tool_response>". The marks go when the text has been cut.

        Args:
          messages: dicts with "role" (of `ROLES`) and what the template reads, mostly "content".
          thinking: the template's switch `enable_thinking`.
          tools: JSON schemas of functions, for templates that know tools.

        Returns:
          The text in pieces: (text, whether it is a control token); no two plain pieces in a row.

        Raises:
          ValueError: no messages, an unknown role, values that are not JSON's, or the template refuses.
        """
        _check(messages)
        try:
            seen = set(json.dumps([messages, tools, self._variables], ensure_ascii=False) + self.source)
        except (TypeError, ValueError) as error:
            raise ValueError(f"messages and tools must be what JSON knows: {error}") from error
        mark = next((mark for mark in MARKS if mark not in seen), None)
        if mark is None:
            raise ValueError(f"the messages hold all of the {len(MARKS)} characters that could mark data")
        try:
            text = self._template.render(
                messages=[self._visible(message, mark) for message in messages],
                tools=None if tools is None else self._marked(tools, mark),
                documents=None,
                add_generation_prompt=True,
                enable_thinking=thinking,
                **self._variables,
            )
        except self._errors as error:
            raise ValueError(f"the chat template refuses these messages: {_line(error)}") from error
        pieces, end = [], 0
        for control in self._controls.finditer(text):
            pieces += [(text[end : control.start()].replace(mark, ""), False), (control.group(), True)]
            end = control.end()
        return [piece for piece in [*pieces, (text[end:].replace(mark, ""), False)] if piece[0]]

    def _visible(self, message: Mapping[str, Any], mark: str) -> dict[str, Any]:
        """What the template sees of a message; without keys of no value, which many templates would print."""
        trusted = message["role"] == "assistant"
        return {
            key: value if trusted or key == "role" else self._marked(value, mark)
            for key, value in message.items()
            if value is not None
        }

    def _marked(self, value: Any, mark: str) -> Any:
        """A copy of data, with marks after what may begin and before what may end a control token."""
        if isinstance(value, str):
            return self._last.sub(rf"{mark}\g<0>", self._first.sub(rf"\g<0>{mark}", value))
        if isinstance(value, Mapping):
            return {self._marked(key, mark): self._marked(item, mark) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._marked(item, mark) for item in value]
        return value


def _check(messages: Sequence[Mapping[str, Any]]) -> None:
    if not messages:
        raise ValueError("no messages: want at least one, such as {'role': 'user', 'content': 'How much is 1 + 1?'}")
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, Mapping) or message.get("role") not in ROLES:
            got = message.get("role") if isinstance(message, Mapping) else message
            raise ValueError(f"message {number}: want a dict with a role of {ROLES}, got {str(got)[:60]!r}")


def _any_of(characters: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(sorted(map(re.escape, set(characters)))) or "(?!)")


def _to_json(value: Any, indent: int | None = None, separators: Any = None, sort_keys: bool = False) -> str:
    # Jinja's own would write "<" as an escape. One that escapes all but ASCII would spell the mark out: left out.
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise ValueError(message)


def _now(form: str) -> str:
    return datetime.datetime.now().strftime(form)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
