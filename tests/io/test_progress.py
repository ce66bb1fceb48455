import os
import pty
import re
import subprocess
import sys

import pytest

from ulorl_jax.io.progress import Progress, format_number

RUN = """
from ulorl_jax.io.progress import Progress
with Progress(3, "tiny run") as progress:
    for step in (1, 2, 3):
        progress.update(step, {"reward/mean": step / 7})
        if step == 2:
            progress.note("held-out [0.5]")
"""


def test_without_a_terminal_the_first_and_the_last_step_are_lines_and_few_between(capsys):
    with Progress(100, "tiny") as progress:
        for step in range(1, 101):
            progress.update(step, {"reward/mean": 0.123456, "rollout/tokens": 45678.0})
    first, last = capsys.readouterr().out.splitlines()
    assert first == "tiny: 1/100 (0:00:00 passed)  reward/mean 0.123  rollout/tokens 45,700"
    assert last == "tiny: 100/100 (0:00:00 passed, 0:00:00 left)  reward/mean 0.123  rollout/tokens 45,700"


def test_lines_come_again_after_a_few_seconds_with_the_time_left(capsys, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with Progress(50, "tiny", plain=True, start=10) as progress:
        for step in range(11, 20):
            now += 2.0
            progress.update(step, {})
    assert capsys.readouterr().out.splitlines() == [
        "tiny: 11/50 (0:00:02 passed)",
        "tiny: 14/50 (0:00:08 passed, 0:01:12 left)",
        "tiny: 17/50 (0:00:14 passed, 0:01:06 left)",
    ]


def test_a_note_is_one_whole_line_as_it_was_written(capsys):
    note = "[bold] " + 50 * "long "
    with Progress(2, "tiny", plain=True) as progress:
        progress.note(note)
    assert capsys.readouterr().out == note + "\n"


def test_on_a_terminal_a_bar_a_table_and_notes_are_drawn():
    master, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    with subprocess.Popen([sys.executable, "-c", RUN], stdout=terminal, stderr=terminal, env=environment) as process:
        os.close(terminal)
        drawn = b""
        try:
            while chunk := os.read(master, 4096):
                drawn += chunk
        except OSError:  # how Linux says that the other end of a terminal is closed
            pass
        assert process.wait(timeout=60) == 0
    os.close(master)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode())
    assert "held-out [0.5]" in text
    assert re.search(r"tiny run .*3/3 .*0:00:0\d .*left", text)
    assert "reward/mean" in text and "0.429" in text
    assert "\x1b[?25h" in drawn.decode()  # the cursor is given back


@pytest.mark.parametrize(
    "value, text",
    [
        (0.0, "0"),
        (0.20349, "0.203"),
        (12.345, "12.3"),
        (999.6, "1,000"),
        (45678.0, "45,700"),
        (-1234.0, "-1,230"),
        (1.234e-5, "1.23e-05"),
        (2.5e9, "2.5e+09"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
    ],
)
def test_numbers_have_three_significant_digits(value, text):
    assert format_number(value) == text
