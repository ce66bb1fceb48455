"""Chat templates: conversations to text in which the template's own control tokens can be told from data.

A template is a program that came with the model, so it runs in a sandbox. What it writes itself is
trusted, and so are the assistant's messages, which it takes apart, and the config's part of a
`TrustedText`. All else (contents of users, system and tools, definitions of tools) is data: whoever
writes a problem must not be able to end a turn in it.
"""

import datetime
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ulorl_jax.io.tokenizer import TrustedText

ROLES = ("system", "user", "assistant", "tool")
# Hangul syllables: printable, so that no escaping of a template touches them, and many.
MARKS = [chr(code) for code in range(0xD7A3, 0xABFF, -1)]


class ControlTokens:
    """Cuts text at control tokens, but not where data spells one.

    Args:
      texts: of the tokens, each of two characters or more.
    """

    def __init__(self, texts: Sequence[str]):
        # The longest first, as tokenizers do where two begin alike.
        by_length = sorted(texts, key=len, reverse=True)
        self._any = re.compile("|".join(map(re.escape, by_length)) or "(?!)")
        self._first = _any_of(text[0] for text in texts)
        self._last = _any_of(text[-1] for text in texts)

    def choose_mark(self, text: str) -> str:
        """A character that is not in the text.

        Raises:
          ValueError: it has all that could be.
        """
        seen = set(text)
        mark = next((mark for mark in MARKS if mark not in seen), None)
        if mark is None:
            raise ValueError(f"the text holds all of the {len(MARKS)} characters that could mark data")
        return mark

    def mark(self, value: Any, mark: str) -> Any:
        """A copy of data with marks after what may begin and before what may end a control token.

        So neither data alone nor data and the text beside it spell one.

        Args:
          value: text, or lists and dicts of it; of a `TrustedText` only the data is marked.
          mark: from `choose_mark`.

        Returns:
          The same with marks.
        """
        if isinstance(value, TrustedText):
            return "".join(self.mark(text, mark) if is_data else text for text, is_data in value.parts)
        if isinstance(value, str):
            return self._last.sub(rf"{mark}\g<0>", self._first.sub(rf"\g<0>{mark}", value))
        if isinstance(value, Mapping):
            return {self.mark(key, mark): self.mark(item, mark) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.mark(item, mark) for item in value]
        return value

    def cut(self, text: str, mark: str) -> list[tuple[str, bool]]:
        """The text in pieces, without its marks: (text, whether it is a control token); no two plain ones in a row."""
        pieces, end = [], 0
        for control in self._any.finditer(text):
            pieces += [(text[end : control.start()].replace(mark, ""), False), (control.group(), True)]
            end = control.end()
        return [piece for piece in [*pieces, (text[end:].replace(mark, ""), False)] if piece[0]]


class ChatTemplate:
    """A chat template, compiled once.

    Args:
      source: Jinja, as in tokenizer_config.json or chat_template.jinja.
      variables: names the template may read, such as "eos_token".
      controls: the tokens that only the template, the assistant and trusted text may write.

    Raises:
      ValueError: the template does not compile.
    """

    def __init__(self, source: str, variables: Mapping[str, str], controls: ControlTokens):
        import jinja2
        import jinja2.sandbox

        self.source = source
        self._variables = dict(variables)
        self._controls = controls
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

        Data is marked (see `ControlTokens.mark`), so it does not pass the template's own comparisons
        either, such as for "<tool_response>". The marks go when the text has been cut.

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
            seen = json.dumps([messages, tools, self._variables], ensure_ascii=False) + self.source
        except (TypeError, ValueError) as error:
            raise ValueError(f"messages and tools must be what JSON knows: {error}") from error
        mark = self._controls.choose_mark(seen)
        try:
            text = self._template.render(
                messages=[self._visible(message, mark) for message in messages],
                tools=None if tools is None else self._controls.mark(tools, mark),
                documents=None,
                add_generation_prompt=True,
                enable_thinking=thinking,
                **self._variables,
            )
        except self._errors as error:
            raise ValueError(f"the chat template refuses these messages: {_line(error)}") from error
        return self._controls.cut(text, mark)

    def _visible(self, message: Mapping[str, Any], mark: str) -> dict[str, Any]:
        """What the template sees of a message; without keys of no value, which many templates would print."""
        trusted = message["role"] == "assistant"
        return {
            key: value if trusted or key == "role" else self._controls.mark(value, mark)
            for key, value in message.items()
            if value is not None
        }


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
