"""The page in a real Chromium without a window: every control is used as people use it, and the document looked at."""

import io
import json
import pathlib
import re
import shutil
import subprocess
import time

import numpy as np
import pytest
from matplotlib.image import imread

from tests.report import recorded
from ulorl_jax.report.page import write_report

pytestmark = pytest.mark.slow  # half a minute in all; test_page.py looks at the same pages without a browser
DEADLINE = 60.0  # seconds for anything a test waits for
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync", "window-size=1300,1000",
)  # fmt: skip


class Page:
    """What a person does at the page, and sees."""

    def __init__(self, driver, path: pathlib.Path):
        self.driver = driver
        driver.get("about:blank")  # or an address that differs in its hash only would not be loaded anew
        driver.get(path.as_uri())
        self.until("document.documentElement.dataset.ready")

    def js(self, expression: str):
        return self.driver.execute_script(f"return {expression}")

    def until(self, expression: str):
        """Waits until an expression holds; its value."""
        end = time.monotonic() + DEADLINE
        while not (value := self.js(expression)):
            assert time.monotonic() < end, f"{expression}: not within {DEADLINE} s; {self.driver.get_log('browser')}"
            time.sleep(0.02)
        return value

    def find(self, selector: str):
        return self.driver.find_element("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        return self.js(f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent)")

    def click(self, selector: str):
        self.find(selector).click()

    def choose(self, selector: str, value: str):
        """An option of a select."""
        self.click(f'{selector} option[value="{value}"]')

    def press(self, selector: str, *keys: str):
        from selenium.webdriver.common.keys import Keys

        self.find(selector).send_keys(*[getattr(Keys, key, key) for key in keys])

    def write(self, selector: str, text: str):
        """Into a field, in place of what stands there."""
        self.press(selector, "CONTROL", "a")
        self.press(selector, *(text or ["BACKSPACE"]))

    def open_rollouts(self):
        self.click("#tab-rollouts")
        self.until("document.querySelector('#tokens .token')")

    def count(self) -> int:
        """Samples in the list."""
        return int(self.find("#count").text.split(" of ")[0].replace(",", ""))

    def sample(self) -> int:
        return int(self.find("#sample").get_attribute("data-sample"))

    def tip(self) -> str:
        return " ".join(self.find("#tip").text.split())


def version(program: str) -> str:
    """The first of its numbers; a browser and its driver have the same."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=DEADLINE).stdout
    return (re.search(r"(\d+)\.", said) or ["", ""])[1]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed; ./setup.sh test brings it")
    chromedriver = shutil.which("chromedriver")
    found = [browser for browser in map(shutil.which, BROWSERS) if browser]
    fitting = [browser for browser in found if chromedriver and version(browser) == version(chromedriver)]
    if not fitting:
        pytest.skip("no Chromium on PATH with its chromedriver; on Debian: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = fitting[0]
    for flag in (*QUIET, f"user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    yield made
    made.quit()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run of today, whose outputs would like to be markup, and an older one with another seed."""
    root = tmp_path_factory.mktemp("runs")
    new = recorded.record(root / "new", output=recorded.HOSTILE + "#{answer}", config={"seed": 1})
    old = recorded.record(root / "old", newer=False, metrics={3: {"train/skipped": 1.0}}, config={"seed": 2})
    return new, old


@pytest.fixture(scope="module")
def one(folders):
    return write_report(folders[:1], folders[0] / "report.html")[0]


@pytest.fixture(scope="module")
def two(folders):
    return write_report(folders, folders[0].parent / "report.html")[0]


def test_the_page_opens_with_its_curves_asks_no_network_and_says_no_error(driver, one):
    page = Page(driver, one)
    titles = page.texts("#panels h3")
    assert {"Reward", "Held out", "Entropy", "Slots", "Time by phase"} <= set(titles)
    assert all(
        page.js("[...document.querySelectorAll('#panels .plot')].map((plot) => plot.querySelectorAll('path').length)")
    )
    assert (
        page.texts(".legend span").count("sigma = 0.12")
        == page.js("document.querySelectorAll('line.limit').length")
        == 1
    )
    assert page.js("performance.getEntriesByType('resource').length") == 0
    assert driver.get_log("browser") == []


def test_a_chart_tells_step_and_value_under_the_pointer_and_by_arrow_keys(driver, one):
    from selenium.webdriver import ActionChains

    page = Page(driver, one)
    page.press(".panel:first-child .plot", "ARROW_RIGHT")
    assert page.tip() == "step 1 training 0.1"
    page.press(".panel:first-child .plot", "ARROW_RIGHT")
    assert page.tip() == "step 2 training 0.2"
    page.press(".panel:first-child .plot", "ESCAPE")
    assert page.js("document.getElementById('tip').hidden")
    plot = page.find(".panel:first-child .plot")
    ActionChains(driver).move_to_element_with_offset(plot, plot.size["width"] // 2 - 12, 0).perform()
    assert page.tip() == "step 6 training 0.6"


def test_smoothing_the_other_axes_and_a_logarithmic_scale_change_the_curves(driver, one):
    page = Page(driver, one)
    before = page.js("document.querySelector('.panel .line').getAttribute('d')")
    page.press("#smoothing", "ARROW_RIGHT")
    assert page.find("#smoothing-text").text == "mean of 3 steps"
    assert page.js("document.querySelectorAll('.panel:first-child .faint').length") == 1
    page.press(".panel:first-child .plot", "ARROW_RIGHT")
    assert page.tip() == "step 1 training 0.1 (mean 0.15)"
    page.press("#smoothing", "ARROW_LEFT")
    assert page.js("document.querySelector('.panel .line').getAttribute('d')") == before
    page.choose("#across", "x/trained")
    page.press(".panel:first-child .plot", "ARROW_RIGHT")
    assert page.tip() == "trained tokens 100 training 0.1"
    page.choose("#across", "x/seconds")
    assert page.texts(".panel:first-child .unit") == ["share correct over seconds"]
    page.click(".panel:first-child .log input")
    assert "0.1" in page.texts(".panel:first-child svg text")
    assert page.js("document.querySelector('.panel .line').getAttribute('d')") != before


def test_all_other_metrics_have_a_chart_too(driver, one):
    page = Page(driver, one)
    assert page.texts("#others h3") == []
    page.click("#others summary")
    page.until("document.querySelector('#others path')")
    assert {"ledger/trained", "reward/errors", "rollout/evicted"} <= set(page.texts("#others h3"))


def test_runs_are_overlaid_in_their_colours_and_switched_off_and_on(driver, two):
    page = Page(driver, two)
    assert [text.split()[0] for text in page.texts(".run")] == ["new", "old"]
    colors = "[...document.querySelectorAll('.panel:first-child .line[d]')].map((path) => path.style.stroke)"
    assert page.js(colors) == ["var(--c0)", "var(--c1)"]
    page.click(".run:nth-child(1) input")
    assert page.js(colors) == ["var(--c1)"]
    assert page.js("[...document.querySelectorAll('.panel:not([hidden]) h3')].map((e) => e.textContent)")[-1:] == [
        "Time by phase, old"
    ]
    page.open_rollouts()
    assert page.count() == 48
    page.click(".run:nth-child(1) input")
    page.until("document.querySelector('#count').textContent.startsWith('96 ')")
    page.click("#tab-curves")
    page.until(f"{colors}.length == 2")


def test_tabs_are_gone_through_by_arrow_keys_and_show_warnings_and_differences(driver, two):
    page = Page(driver, two)
    assert page.texts(".badge") == ["1"]
    page.press("#tab-curves", "ARROW_RIGHT")
    assert page.js("document.activeElement.id") == "tab-findings"
    assert (
        "1 update skipped" in page.find("#findings").text
        and "Entropy of new: 0.06 to 0.3" in page.find("#findings").text
    )
    page.press("#tab-findings", "ARROW_RIGHT")
    tables = page.texts("#tables caption")
    assert tables == ["Differences", "Environment", "Summary", "Configuration"]
    assert page.texts("#tables .table:first-child tbody tr") == ["seed12"]
    assert "jax0.10.20.10.2" in page.texts("#tables tr")
    page.press("#key-filter", "clip_")
    assert page.texts("#tables .table:last-child tbody th") == [
        "loss.clip_low", "loss.clip_high", "optimizer.clip_norm", "warm_start.optimizer.clip_norm",
    ]  # fmt: skip
    page.press("#tab-setup", "HOME")
    assert page.js("document.getElementById('setup').hidden && !document.getElementById('curves').hidden")


def test_samples_are_filtered_by_every_field_and_sorted_by_any(driver, one, folders):
    page, rows = Page(driver, one), recorded.traces(folders[0])
    page.open_rollouts()
    assert page.count() == len(rows) == 48
    for field, value, kept in (
        ("step", "3", 8),
        ("reward", "1", sum(row["reward"] == 1 for row in rows)),
        ("reward", "none", sum(row["reward"] is None for row in rows)),
        ("use", "error", sum(row["use"] == "error" for row in rows)),
        ("finished", "limit", sum(row["finished"] == "limit" for row in rows)),
    ):
        page.choose(f"#filter-{field}", value)
        assert page.count() == kept > 0, field
        page.choose(f"#filter-{field}", "")
    # In outputs, and in reasons, whatever the case.
    for text, field in (("#2", "output"), ("IN TIME</B>", "reason")):
        kept = sum(text.lower() in row[field].lower() for row in rows)
        page.write("#filter-text", text)
        page.until(f"document.querySelector('#count').textContent.startsWith('{kept} ')")
        assert 0 < kept < 48
    page.write("#filter-text", "")
    page.until("document.querySelector('#count').textContent.startsWith('48 ')")
    sizes = [len(row["tokens"]) for row in rows]
    page.write("#filter-from", str(max(sizes)))
    page.until(f"document.querySelector('#count').textContent.startsWith('{sizes.count(max(sizes))} ')")
    assert sizes.count(max(sizes)) < 48
    page.write("#filter-from", "")
    page.write("#filter-to", str(max(sizes) - 1))
    page.until(f"document.querySelector('#count').textContent.startsWith('{48 - sizes.count(max(sizes))} ')")
    page.write("#filter-to", "")
    page.until("document.querySelector('#count').textContent.startsWith('48 ')")
    page.click("[data-sort=entropy]")
    shown = page.texts("#sample-room .entropy")
    assert shown[:3] == sorted(shown[:3], key=float, reverse=True)
    page.click("[data-sort=entropy]")
    assert (
        page.texts("[data-sort=entropy]") == ["entropy ↑"]
        and page.js("document.activeElement.dataset.sort") == "entropy"
    )
    shown = page.texts("#sample-room .entropy")
    assert shown[:3] == sorted(shown[:3], key=float) and shown[0] != "–"


def test_a_sample_shows_its_text_verdict_and_group_and_what_it_wrote_stays_text(driver, one, folders):
    page, rows = Page(driver, one), recorded.traces(folders[0])
    page.open_rollouts()
    page.choose("#filter-use", "error")
    page.choose("#filter-reward", "none")
    page.until("document.querySelector('#sample .bad')")
    row = next(row for row in rows if row["sample"] == page.sample())
    assert page.texts("#sample dd") == [row["question"], row["reference"], row["reason"]] and "<b>" in row["reason"]
    # A character of several tokens stands at the last of them; the others are points. The end token is a line end.
    written = "".join(page.texts("#tokens .token")).replace("·", "").removesuffix("↵\n")
    assert written == row["output"] == recorded.HOSTILE + row["output"][-2:]
    assert page.js("document.title") == "UloRL: new" and page.js("document.images.length") == 0
    others = [other["sample"] for other in rows if other["group"] == row["group"]]
    assert page.js("[...document.querySelectorAll('.member')].map((e) => Number(e.dataset.sample))") == others
    page.click(f'.member[data-sample="{others[0]}"]')
    page.until(f"document.querySelector('#sample').dataset.sample == {others[0]}")
    assert page.js("document.querySelectorAll('[aria-selected=true].row').length") == 0  # it does not pass the filters


def test_tokens_are_coloured_by_segment_probability_entropy_and_mastery(driver, one, folders):
    page, rows = Page(driver, one), recorded.traces(folders[0])
    page.open_rollouts()
    page.choose("#filter-use", "trained")
    page.choose("#filter-reward", "1")
    page.click("[data-sort=sample]")
    page.click("[data-sort=sample]")
    page.press("#sample-list", "HOME")
    page.until("document.querySelector('#sample').dataset.sample == 0")
    row = next(row for row in rows if row["sample"] == 0)
    kinds = "[...document.querySelectorAll('#tokens .token')].map((token) => token.className.split(' ')[1] || '')"
    strengths = (
        "[...document.querySelectorAll('#tokens .token')].map((t) => parseInt(t.style.getPropertyValue('--strength')))"
    )
    sizes = [segment["num_tokens"] for segment in row["segments"]]
    assert page.js(kinds) == ["segment-0"] * sizes[0] + ["segment-1"] * sizes[1]
    assert len(page.texts("#legend .entry")) == 2 and "policy step 1" in page.texts("#legend .entry")[1]
    for coloring, field, strongest in (
        ("probability", "logp", 3),
        ("policy", "policy_logp", 3),
        ("entropy", "entropy", 2),
    ):
        page.choose("#coloring", coloring)
        wanted = [75 * min(1, abs(value) / strongest) for value in row[field]]
        assert page.js(strengths) == pytest.approx(wanted, abs=0.51)
    page.choose("#coloring", "mastered")
    assert row["masked"] and row["mastered"]
    assert [i for i, kind in enumerate(page.js(kinds)) if kind == "left-out"] == row["mastered"]
    at = row["mastered"][0]
    page.press("#tokens", *["ARROW_RIGHT"] * (at + 1))
    assert page.find("#tokens .at").get_attribute("data-i") == str(at)
    for told in (
        f"id {row['tokens'][at]}",
        "log-prob, sampler",
        "entropy",
        "policy step 0",
        "mastered left out of the loss",
    ):
        assert told in page.tip()
    page.press("#sample-list", "ARROW_DOWN")
    page.until("document.querySelector('#sample').dataset.sample == 2")
    assert page.find("#coloring").get_attribute("value") == "mastered"
    assert set(page.js(kinds)) == {"", "mastered"}  # trained, for the gate let them through


def test_what_an_older_trace_does_not_have_cannot_be_chosen(driver, folders):
    page = Page(driver, write_report(folders[1:], folders[1] / "report.html")[0])
    page.open_rollouts()
    off = "[...document.querySelectorAll('#coloring option:disabled')].map((option) => option.value)"
    assert page.js(off) == ["policy", "entropy", "mastered"]
    assert len(page.texts(".member")) == recorded.GROUP
    assert set(page.texts("#sample-room .use")) == {"–"}


def test_of_ten_thousand_samples_only_those_in_sight_are_in_the_document(driver, tmp_path):
    folder = recorded.record(tmp_path / "run", copies=210, output="a11,#{answer}")
    page = Page(driver, write_report([folder])[0])
    page.open_rollouts()
    assert page.count() == 10_080
    assert 10 < len(page.texts("#sample-room .row")) < 60
    page.press("#sample-list", "END")
    page.until("document.querySelector('#sample-room .row:last-child').getAttribute('aria-posinset') == '10080'")
    assert len(page.texts("#sample-room .row")) < 60
    page.press("#filter-text", "a11,#2")
    page.until("document.querySelector('#count').textContent.startsWith('5,040 ')")


@pytest.mark.parametrize("scheme, width", [("light", 1300), ("dark", 420)])
def test_the_page_is_drawn_in_light_and_dark_and_fits_a_narrow_window(driver, two, scheme, width):
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page = Page(driver, two)
        for tab in ("curves", "findings", "setup"):
            page.click(f"#tab-{tab}")
            assert page.js("document.documentElement.scrollWidth") <= width, tab
        page.open_rollouts()
        assert page.js("document.documentElement.scrollWidth") <= width
        picture = imread(io.BytesIO(driver.get_screenshot_as_png()))[..., :3]
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert picture.shape[:2] == (900, width)
    assert (np.median(picture) > 0.9) == (scheme == "light") and picture.std() > 0.05
