"""Questions to a language model behind an OpenAI-compatible endpoint: POST {url}/chat/completions."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import email.message
import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any

LARGEST_REPLY = 16 << 20  # bytes; a longer one is a failure
LONGEST_PAUSE_S = 60.0  # between two attempts, whatever the server asks for
RETRIED = {408, 409, 429, 500, 502, 503, 504, 529}  # statuses that may be gone at the next attempt


@dataclasses.dataclass(frozen=True)
class EndpointSettings:
    """Where the endpoint is and how it is asked.

    Attributes:
      url: up to the version, such as "http://localhost:8000/v1".
      model: name of the model, as the endpoint knows it.
      key_variable: environment variable that holds the key; "" sends none.
      temperature: of the replies.
      max_tokens: of one reply, thinking included.
      deadline_s: seconds a request may take.
      retries: attempts after the first, where the failure may pass.
      pause_s: seconds before the second attempt; doubled before each further one.
      workers: requests under way at one time.
    """

    url: str
    model: str
    key_variable: str
    temperature: float
    max_tokens: int
    deadline_s: float
    retries: int
    pause_s: float
    workers: int


class Endpoint:
    """A callable: prompts to replies, in their order.

    The first prompt is asked alone. Where even that finds no server or no permission, a
    ValueError says so before thousands of requests fail; after it, one prompt's failure
    is a None at its place and a count.

    Args:
      settings: where and how.

    Attributes:
      failures: by what went wrong, how often a prompt was left without a reply.

    Raises:
      ValueError: the URL is none, the key's variable is not set, or a number makes no sense.
    """

    def __init__(self, settings: EndpointSettings):
        self.settings = settings
        self.failures: dict[str, int] = {}
        self._greeted = False
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        parts = urllib.parse.urlsplit(settings.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f'the endpoint\'s url is like "http://localhost:8000/v1"; got {settings.url!r}')
        if settings.workers < 1 or settings.max_tokens < 1 or settings.retries < 0 or settings.pause_s < 0:
            raise ValueError(f"an endpoint wants workers and max_tokens >= 1, retries and pause_s >= 0; got {settings}")
        if settings.deadline_s <= 0:
            raise ValueError(f"the endpoint's deadline_s is seconds, more than 0; got {settings.deadline_s}")
        self._key = os.environ.get(settings.key_variable, "") if settings.key_variable else ""
        if settings.key_variable and not self._key:
            raise ValueError(f"the endpoint's key is to be in ${settings.key_variable}, which is not set; export it")
        if not (self._key.isascii() and self._key.isprintable()):  # the key itself is not shown
            raise ValueError(
                f"the endpoint's key in ${settings.key_variable} holds a line's end or other characters that no header "
                "may have; export it without them"
            )
        # A redirect would carry the key to another host.
        self._opener = urllib.request.build_opener(_NoRedirect)

    def __call__(self, prompts: Sequence[str]) -> list[str | None]:
        """Asks every prompt.

        Args:
          prompts: one user's turn each.

        Returns:
          The reply to each, None where there is none.

        Raises:
          ValueError: the very first request finds no server, no permission or no such model.
        """
        replies: list[str | None] = []
        if prompts and not self._greeted:
            replies.append(self._ask(prompts[0], at_the_door=True))
            self._greeted = True
        with concurrent.futures.ThreadPoolExecutor(self.settings.workers) as pool:
            try:
                return replies + list(pool.map(self._ask, prompts[len(replies) :]))
            except BaseException:  # Ctrl-C: what is under way has its deadline, nothing new is begun
                self._stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _ask(self, prompt: str, at_the_door: bool = False) -> str | None:
        pause = self.settings.pause_s
        for attempt in range(self.settings.retries + 1):
            try:
                return _content(self._post(prompt))
            except _FailedError as error:
                failure = error
            if not failure.may_pass or attempt == self.settings.retries:
                break
            if self._stopped.wait(min(max(pause, failure.wait_s), LONGEST_PAUSE_S)):
                break
            pause *= 2
        if at_the_door and failure.for_all:
            raise ValueError(f"the endpoint {self.settings.url} cannot be used: {failure}")
        with self._lock:
            self.failures[str(failure)] = self.failures.get(str(failure), 0) + 1
        return None

    def _post(self, prompt: str) -> bytes:
        s = self.settings
        body = {
            "model": s.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": s.temperature,
            "max_tokens": s.max_tokens,
        }
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{s.url.rstrip('/')}/chat/completions", data, headers)
        end = time.monotonic() + s.deadline_s
        try:
            with self._opener.open(request, timeout=s.deadline_s) as response:
                return _read(response, end)
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error.code, error.headers, self.settings.key_variable) from error
        except TimeoutError as error:
            raise _FailedError("no reply within the deadline", may_pass=True) from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(getattr(error, "reason", None), TimeoutError):
                raise _FailedError("no reply within the deadline", may_pass=True) from error
            why = getattr(error, "reason", None) or error
            text = f"no connection ({type(why).__name__}); is the server there?"
            raise _FailedError(text, may_pass=True, for_all=True) from error


class _FailedError(Exception):
    """A request without a reply: whether another attempt may help, and whether all prompts would fail the same."""

    def __init__(self, text: str, *, may_pass: bool, for_all: bool = False, wait_s: float = 0.0):
        super().__init__(text)
        self.may_pass, self.for_all, self.wait_s = may_pass, for_all, wait_s


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):  # noqa: ARG002 -- the handler's signature
        return None


def _refused(status: int, headers: email.message.Message, key_variable: str) -> _FailedError:
    remedies = {
        401: f"the key in ${key_variable} is not accepted" if key_variable else "it wants a key; set key_variable",
        403: "this is not permitted",
        404: "no such path or model; check url (it ends before /chat/completions) and model",
    }
    if 300 <= status < 400:
        remedies[status] = "it redirects; give the address it redirects to"
    text = f"status {status}" + (f": {remedies[status]}" if status in remedies else "")
    wait = headers.get("Retry-After", "")
    return _FailedError(
        text,
        may_pass=status in RETRIED,
        for_all=status in remedies,
        wait_s=float(wait) if wait.isascii() and wait.isdigit() else 0.0,
    )


def _read(response: Any, end: float) -> bytes:
    """The body; the socket's own timeout is one of each read, so a dripping server needs a clock beside it."""
    chunks, size = [], 0
    while chunk := response.read1(1 << 16):
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST_REPLY:
            raise _FailedError("the reply is too large", may_pass=False)
        if time.monotonic() > end:
            raise TimeoutError
    if response.length:  # what Content-Length promised and did not come
        raise _FailedError("the connection closed in the middle of the reply", may_pass=True)
    return b"".join(chunks)


def _content(body: bytes) -> str:
    try:
        choice = json.loads(body)["choices"][0]
        content, cut_off = choice["message"]["content"], choice.get("finish_reason") == "length"
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _FailedError("the reply is not a chat completion", may_pass=True) from error
    if cut_off:  # a draft in it is no verdict
        raise _FailedError("the reply was longer than max_tokens", may_pass=False)
    if not isinstance(content, str):
        raise _FailedError("the reply has no text", may_pass=False)
    return content
