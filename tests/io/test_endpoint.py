"""The client against a server of its own: a real one, on a port of this machine."""

import contextlib
import http.server
import json
import threading
import time

import pytest

from ulorl_jax.io.endpoint import Endpoint, EndpointSettings

STALL_S = 2.0  # longer than the deadline of the tests that wait for it


class Server(http.server.ThreadingHTTPServer):
    """Speaks the format; the prompt says how: "ok", "500 then ok", "garbage", "stall", "drip", "close" and more."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, dict, str]] = []  # path, headers, prompt
        self.bodies: list[dict] = []
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def attempts(self, prompt: str) -> int:
        return sum(seen == prompt for _, _, seen in self.seen)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers), "GET"))
        self.reply(200, b"{}")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        with self.server.lock:
            self.server.seen.append((self.path, dict(self.headers), prompt))
            self.server.bodies.append(body)
            self.server.under_way += 1
            self.server.most_under_way = max(self.server.most_under_way, self.server.under_way)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.answer(prompt, self.server.attempts(prompt))

    def answer(self, prompt: str, attempt: int):
        how, _, then = prompt.partition(" then ")
        if then and attempt > 1:
            how = then
        if how.startswith("stall"):
            time.sleep(STALL_S)
        if how.startswith("slow"):
            time.sleep(0.05)
        if how.isdigit():
            headers = {"Retry-After": "1"} if how == "429" else {"Location": "/elsewhere"} if how == "302" else {}
            self.reply(int(how), b'{"error": "no"}', headers)
        elif how == "close":
            self.connection.shutdown(2)
        elif how == "half":
            self.reply(200, completion(prompt)[:20], length=len(completion(prompt)))
        elif how == "drip":
            self.reply(200, b"", length=40)
            for _ in range(40):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(STALL_S / 40)
        elif how == "garbage":
            self.reply(200, b"<html>busy</html>")
        elif how == "empty":
            self.reply(200, b'{"choices": []}')
        elif how == "no text":
            self.reply(200, b'{"choices": [{"message": {"content": null}}]}')
        elif how == "cut off":
            self.reply(200, b'{"choices": [{"message": {"content": "a draft"}, "finish_reason": "length"}]}')
        else:
            self.reply(200, completion(prompt))

    def reply(self, status: int, body: bytes, headers=None, length: int | None = None):
        with self.server.lock:  # before it is sent: whoever has read it may ask again at once
            self.server.under_way -= 1
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def completion(prompt: str) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": f"reply to {prompt}"}}]}).encode()


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def make_endpoint(url: str, **changes) -> Endpoint:
    defaults = {
        "url": url,
        "model": "small",
        "key_variable": "",
        "temperature": 0.0,
        "max_tokens": 64,
        "deadline_s": 10.0,
        "retries": 1,
        "pause_s": 0.01,
        "workers": 4,
    }
    return Endpoint(EndpointSettings(**(defaults | changes)))


def test_replies_come_in_the_order_of_the_prompts(server):
    prompts = ["slow 0", "ok 1", "slow 2", "é\u2028\udc80", "ok 4"]
    endpoint = make_endpoint(server.url + "/")
    assert endpoint(prompts) == [f"reply to {prompt}" for prompt in prompts]
    assert endpoint.failures == {} and endpoint([]) == []
    path, headers, _ = server.seen[0]
    assert path == "/v1/chat/completions" and "Authorization" not in headers
    assert server.bodies[1] == {
        "model": "small",
        "messages": [{"role": "user", "content": server.bodies[1]["messages"][0]["content"]}],
        "temperature": 0.0,
        "max_tokens": 64,
    }


def test_no_more_requests_are_under_way_than_workers(server):
    make_endpoint(server.url, workers=3)(["ok"] + ["slow"] * 12)
    assert server.most_under_way == 3


@pytest.mark.parametrize("trouble", ["500", "503", "close", "half", "garbage", "empty"])
def test_what_may_pass_is_tried_again(server, trouble):
    prompt = f"{trouble} then ok"
    endpoint = make_endpoint(server.url)
    assert endpoint(["ok", prompt]) == ["reply to ok", f"reply to {prompt}"]
    assert server.attempts(prompt) == 2 and endpoint.failures == {}


def test_a_server_that_asks_to_wait_is_waited_for(server):
    began = time.monotonic()
    assert make_endpoint(server.url)(["429 then ok"]) == ["reply to 429 then ok"]
    assert time.monotonic() - began >= 1.0


@pytest.mark.parametrize(
    ("prompt", "why", "attempts"),
    [
        ("500", "status 500", 2),
        ("400", "status 400", 1),
        ("close", "no connection (RemoteDisconnected); is the server there?", 2),
        ("garbage", "the reply is not a chat completion", 2),
        ("no text", "the reply has no text", 1),
        ("cut off", "the reply was longer than max_tokens", 1),
        ("half", "the connection closed in the middle of the reply", 2),
        ("401", "status 401: it wants a key; set key_variable", 1),
    ],
)
def test_one_prompts_failure_is_a_none_and_a_count_beside_good_replies(server, prompt, why, attempts):
    endpoint = make_endpoint(server.url)
    assert endpoint(["ok 1", prompt, "ok 2", prompt]) == ["reply to ok 1", None, "reply to ok 2", None]
    assert endpoint.failures == {why: 2} and server.attempts(prompt) == 2 * attempts


@pytest.mark.parametrize("prompt", ["stall", "drip"])
def test_a_reply_beyond_the_deadline_is_given_up(server, prompt):
    endpoint = make_endpoint(server.url, deadline_s=0.3, retries=0)
    began = time.monotonic()
    assert endpoint(["ok", prompt]) == ["reply to ok", None]
    assert time.monotonic() - began < STALL_S
    assert endpoint.failures == {"no reply within the deadline": 1}


def test_the_key_comes_from_the_environment_and_does_not_follow_a_redirect(server, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "secret")
    endpoint = make_endpoint(server.url, key_variable="TEST_KEY")
    assert endpoint(["ok", "302"]) == ["reply to ok", None]
    assert [headers["Authorization"] for _, headers, _ in server.seen] == ["Bearer secret"] * 2
    assert {path for path, _, _ in server.seen} == {"/v1/chat/completions"}
    monkeypatch.delenv("TEST_KEY")
    with pytest.raises(ValueError, match=r"is to be in \$TEST_KEY, which is not set"):
        make_endpoint(server.url, key_variable="TEST_KEY")


@pytest.mark.parametrize("key", ["secret\r", "secret\n", "sécret"])
def test_a_key_that_no_header_may_have_is_refused_without_showing_it(server, monkeypatch, key):
    monkeypatch.setenv("TEST_KEY", key)
    with pytest.raises(ValueError, match=r"key in \$TEST_KEY holds a line's end or other characters") as error:
        make_endpoint(server.url, key_variable="TEST_KEY")
    assert "cret" not in str(error.value)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [("401", "it wants a key"), ("403", "not permitted"), ("404", "no such path or model"), ("302", "it redirects")],
)
def test_no_permission_at_the_door_is_an_error_in_a_line(server, prompt, message):
    with pytest.raises(ValueError, match=f"the endpoint {server.url} cannot be used: .*{message}") as error:
        make_endpoint(server.url)([prompt, "ok"])
    assert "\n" not in str(error.value) and server.attempts("ok") == 0


def test_no_server_at_the_door_is_an_error_in_a_line():
    with Server() as server:
        url = server.url
    with pytest.raises(ValueError, match=f"the endpoint {url} cannot be used: no connection .*is the server there"):
        make_endpoint(url)(["ok"])


def test_a_trouble_of_one_prompt_at_the_door_is_no_trouble_of_all(server):
    assert make_endpoint(server.url)(["500", "ok"]) == [None, "reply to ok"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "localhost:8000/v1"}, "url is like"),
        ({"url": "file:///etc/passwd"}, "url is like"),
        ({"workers": 0}, "workers and max_tokens >= 1"),
        ({"deadline_s": 0.0}, "more than 0; got 0.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_endpoint(**({"url": "http://127.0.0.1:1/v1"} | changes))
