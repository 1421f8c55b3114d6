#!/usr/bin/env python3
"""Looks at the live page in Chromium: python3 tests/dashboard.py PROGRAM FOLDER

PROGRAM is examples/50_dashboard.rs, built. FOLDER gets the screenshots, and has axe-core in `package`.
"""

import base64
import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

LIMIT = 60  # seconds to wait for anything

OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

# Counts the pixels of a heat map that are more red than blue, in its upper half, and the others in the lower.
PIXELS = """
const canvas = document.querySelectorAll('canvas')[arguments[0]];
if (!canvas || canvas.height < 2) return [0, 0];
// Chromium writes a message if the page's own canvas is read.
const copy = new OffscreenCanvas(canvas.width, canvas.height);
const draw = copy.getContext('2d', { willReadFrequently: true });
draw.drawImage(canvas, 0, 0);
const half = canvas.height / 2;
const count = (from, is) => {
  const { data } = draw.getImageData(0, from, canvas.width, half);
  let pixels = 0;
  for (let at = 0; at < data.length; at += 4) pixels += is(data[at], data[at + 2]) ? 1 : 0;
  return pixels;
};
return [count(0, (red, blue) => red > blue + 60), count(half, (red, blue) => blue > red + 40)];
"""


class Program:
    """The program that serves the page, until Enter is pressed."""

    def __init__(self, path, port=0):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([path, str(port)], stdin=pipe, stdout=pipe, text=True)
        self.address = self.process.stdout.readline().strip()

    def end(self):
        self.process.communicate("\n")


class Browser:
    def __init__(self):
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                self.url = f"http://127.0.0.1:{line.strip().rstrip('.').split()[-1]}"
                break
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": OPTIONS},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self.url += f"/session/{session['sessionId']}"

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=LIMIT) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()[:2000]) from None

    def open(self, address):
        self.call("POST", "/url", {"url": address})

    def run(self, code, *values):
        return self.call("POST", "/execute/sync", {"script": code, "args": list(values)})

    def text(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText)", selector)

    def click(self, selector):
        self.run("document.querySelector(arguments[0]).click()", selector)

    def press(self, key):
        keys = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": keys}]})

    def size(self, width, height):
        self.call("POST", "/window/rect", {"width": width, "height": height})

    def shoot(self, path):
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))

    def messages(self):
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})]

    def end(self):
        try:
            self.call("DELETE", "")
        finally:
            self.driver.terminate()


def until(what, check):
    """Waits until `check` returns something, and returns that."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if found := check():
            return found
        time.sleep(0.05)
    raise AssertionError(f"never seen: {what}")


def tells_how_fast(browser):
    paint = browser.run("return performance.getEntriesByName('first-contentful-paint')[0].startTime")
    print(f"        first paint after {paint:.0f} ms")


def seconds(text):
    """The length that a stall's line begins with."""
    number, unit = text.split("stuck for ")[1].split()[:2]
    return float(number) * {"ms": 0.001, "s": 1}[unit]


def shows_a_stall_while_it_lasts(browser, shots):
    def stuck():
        lines = [line for line in browser.text(".stuck-list li") if "await_payment" in line]
        return lines and lines[0]

    first = until("a stall with its culprit", stuck)
    assert "examples/50_dashboard.rs:" in first and "blocked in futex" in first, first
    assert "spawn_blocking" in first, first
    tells_how_fast(browser)
    print(f"        a stall was seen {1000 * seconds(first) - 100:.0f} ms after its threshold")
    browser.shoot(shots / "stuck.png")
    later = until("the stall grows", lambda: (line := stuck()) and seconds(line) > seconds(first) and line)
    assert "stuck" in browser.run("return document.title"), later
    until("the stall ends", lambda: not stuck())


def shows_all_that_is_stuck_at_once(browser, shots):
    """Both workers of `shop`, and the future on the only thread of `mail`: nothing else of the program runs."""

    def stuck():
        lines = browser.text(".stuck-list li")
        payments = [line for line in lines if "await_payment" in line]
        mails = [line for line in lines if "connect" in line]
        return len(payments) == 2 and mails and max(map(seconds, payments + mails))

    first = until("everything is stuck", stuck)
    browser.shoot(shots / "all-stuck.png")
    until("it grows", lambda: (longest := stuck()) and longest > first)


def keeps_the_past(browser, shots):
    until("late samples", lambda: browser.run(PIXELS, 0)[0] > 20)
    assert browser.run(PIXELS, 0)[1] > 20, "no samples in the lower half"
    until("both lanes of `mail`", lambda: "future connect" in "".join(browser.text(".lane")))
    stalls = until("stalls in the list", lambda: len(browser.text("#stalls tr")) > 3 and browser.text("#stalls tr"))
    before = len(stalls)
    browser.run("location.reload()")
    until("the history after a reload", lambda: browser.run(PIXELS, 0)[0] > 20)
    until("the list after a reload", lambda: len(browser.text("#stalls tr")) >= before)


def names_the_culprit(browser, shots):
    rows = until("culprits", lambda: [row for row in browser.text("#culprits tr") if "await_payment" in row])
    assert "shop" in rows[0] and "examples/50_dashboard.rs:" in rows[0], rows
    browser.run("document.querySelectorAll('.open-row').forEach((row) => row.innerText.includes('await_payment') && row.click())")
    stack = until("the stack", lambda: [text for text in browser.text("#culprits pre") if "futex_wait" in text])
    assert "\n> " in "\n" + stack[0] and "await_payment" in stack[0], stack
    folded = browser.run("return document.querySelector('#folded a[download]').href")
    with urllib.request.urlopen(folded) as answer:
        assert "attachment" in answer.headers["Content-Disposition"]
        assert b"await_payment" in answer.read()


def obeys_the_keys(browser, shots):
    browser.press("2")
    assert browser.text("[aria-pressed='true']") == ["10 min"]
    browser.press("1")
    browser.run("document.querySelector('[role=slider]').focus()")
    browser.press("\ue012")
    said = until("the values of a column", lambda: [text for text in browser.text(".says") if "samples, longest lag" in text])
    assert said, browser.text(".says")
    browser.run("document.activeElement.blur()")
    browser.run("document.querySelector('.bar[tabindex=\"0\"]').focus()")
    until("the values of a stall", lambda: [text for text in browser.text(".says") if "in all" in text or "so far" in text])
    browser.press("p")
    assert "Go on" in browser.text("#pause")
    browser.press("p")


def filters_stalls(browser, shots):
    fill = "const [name, value] = arguments; const field = document.forms[0].elements[name]; field.value = value; field.dispatchEvent(new Event('input', { bubbles: true }))"
    all_of_them = len(browser.text("#stalls tr"))
    browser.run(fill, "place", "mail: future")
    rows = browser.text("#stalls tr")
    assert 0 < len(rows) < all_of_them and all("future connect" in row for row in rows), rows
    browser.run(fill, "place", "")
    browser.run(fill, "cause", "on_cpu")
    rows = browser.text("#stalls tr")
    assert all("on the CPU" in row or "No stall" in row for row in rows), rows
    browser.run(fill, "cause", "")
    browser.run(fill, "least", "100000")
    assert browser.text("#stalls tr") == ["No stall."]
    browser.run(fill, "least", "")


def reads_well(browser, shots):
    axe = (shots / "package/axe.min.js").read_text()
    backs = set()
    for theme in ["light", "dark"]:
        until(theme, lambda: browser.text("#theme") == [f"Theme: {theme}"] or browser.click("#theme"))
        backs.add(browser.run("return getComputedStyle(document.body).backgroundColor"))
        browser.size(1280, 2000)
        time.sleep(1)
        browser.shoot(shots / f"{theme}.png")
        browser.run(axe)
        found = browser.call("POST", "/execute/async", {"script": "axe.run().then(arguments[0])", "args": []})
        faults = [(fault["id"], [node["html"] for node in fault["nodes"]][:3]) for fault in found["violations"]]
        assert not faults, (theme, faults)
        browser.size(400, 1600)
        time.sleep(1)
        wide = browser.run("return document.scrollingElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{wide} pixels too wide"
        browser.shoot(shots / f"{theme}-narrow.png")
    assert len(backs) == 2, backs
    browser.size(1280, 1000)


def is_alone(browser, shots):
    messages = browser.messages()
    assert not messages, messages
    foreign = "return performance.getEntriesByType('resource').map((one) => one.name).filter((name) => !name.startsWith(location.origin))"
    assert browser.run(foreign) == []


def goes_on_after_a_restart(browser, program):
    port = program.address.rsplit(":", 1)[1]
    path = program.process.args[0]
    program.end()
    until("the lost connection", lambda: "lost" in browser.text("#link")[0])
    again = Program(path, port)
    try:
        until("the notice", lambda: "restarted" in browser.text("#notice")[0])
        until("the connection", lambda: browser.text("#link") == ["live"])
    finally:
        again.end()


def main():
    shots = Path(sys.argv[2])
    program = Program(sys.argv[1])
    browser = Browser()
    try:
        browser.size(1280, 1000)
        browser.open(program.address)
        for check in [
            shows_a_stall_while_it_lasts,
            shows_all_that_is_stuck_at_once,
            keeps_the_past,
            names_the_culprit,
            obeys_the_keys,
            filters_stalls,
            reads_well,
            is_alone,
        ]:
            check(browser, shots)
            print(f"ok      {check.__name__}", flush=True)
        goes_on_after_a_restart(browser, program)
        print(f"ok      {goes_on_after_a_restart.__name__}")
    finally:
        browser.end()
        if program.process.poll() is None:
            program.end()


main()
