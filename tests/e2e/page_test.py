"""The page of examples/support_assistant in a real browser, over kill -9 of its node.

    page_test.py SUPPORT_ASSISTANT EXAMPLE_FOLDER

Drives headless Chromium through chromedriver, with Python's standard library only. Exits with 77
(skipped) where neither is installed: `apt-get install chromium chromium-driver`.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

SKIPPED = 77
PATIENCE_SECONDS = 30
TOKEN_MS = 100


class Child:
    """A program whose output goes to a file; `sign` is how its ready line begins."""

    def __init__(self, folder, name, words):
        self.path = os.path.join(folder, name)
        self.words = words
        self.start()

    def start(self):
        self.output = open(self.path, "w+", encoding="utf-8")
        self.process = subprocess.Popen(self.words, stdout=self.output, stderr=subprocess.STDOUT)

    def line(self, sign):
        def found():
            with open(self.path, encoding="utf-8") as output:
                return [line for line in output if sign in line]
        return wait_for(found, f"{self.words[0]} says '{sign}'")[0].split(sign)[1].strip()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def wait_for(condition, what):
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"did not happen: {what}")


class Browser:
    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}"
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"]}
        made = self.call("POST", "/session", {
            "capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
        self.session = f"/session/{made['sessionId']}"

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.base + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, url):
        self.call("POST", self.session + "/url", {"url": url})

    def run(self, script):
        return self.call("POST", self.session + "/execute/sync", {"script": script, "args": []})

    def text(self, element):
        return self.run(f"return document.getElementById('{element}').textContent")

    def press(self, selector):
        self.run(f"document.querySelector({json.dumps(selector)}).click()")


def play(folder, program, example, children):
    def child(name, *words):
        children.append(Child(folder, name, list(words)))
        return children[-1]

    provider = child("provider", sys.executable, f"{example}/provider.py", "--port", "0",
                     "--token-ms", str(TOKEN_MS)).line("ready ")
    page = child("page", sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1",
                 "--directory", f"{example}/page", "0").line("127.0.0.1 port ").split()[0]
    words = [program, "dev", "--data", f"{folder}/data", "--listen", "127.0.0.1:0"]
    for setting in ("models.order=test", "models.test.default_model=test",
                    "models.test.use_proxy=false", f"models.test.base_url={provider}/v1",
                    f"listen.allowed_origins=http://127.0.0.1:{page}"):
        words += ["--set", setting]
    node = child("node", *words)
    server = node.line("ready ")
    # From now on on the port that the page knows.
    node.words[node.words.index("127.0.0.1:0")] = server.removeprefix("http://")
    child("worker", sys.executable, f"{example}/worker.py", "--server", server,
          "--tenant", "acme", "--tenant", "globex")
    driver = child("driver", "chromedriver", "--port=0").line("successfully on port ").rstrip(".")

    browser = Browser(driver)
    try:
        url = f"http://127.0.0.1:{page}/?server={server}&tenants=acme,globex"
        browser.open(url)
        wait_for(lambda: "connected" in browser.text("link"), "the page connects")
        browser.press("#ask button")
        half = wait_for(lambda: len(browser.text("draft")) > 60 and browser.text("draft"),
                        "the draft grows")
        node.kill()
        wait_for(lambda: "gone" in browser.text("link"), "the page sees that the node is gone")
        assert browser.text("draft").startswith(half), "what was seen stays"
        node.start()
        waiting = "waiting for a person"
        wait_for(lambda: waiting in browser.text("title"), "the draft is made again, and waits")
        rows = browser.text("steps")
        assert "draftmodel2done" in rows, f"the draft is attempt 2: {rows}"
        assert "classifymodel1done" in rows, f"nothing else ran again: {rows}"
        draft = browser.text("draft")
        assert draft.startswith(half) and draft.endswith("your support desk"), draft

        node.kill()
        node.start()
        wait_for(lambda: "connected" in browser.text("link"), "the page is back")
        # One who joins late sees the same, with a reload.
        browser.open(url)
        wait_for(lambda: browser.text("tickets"), "the ticket is listed")
        browser.press("#tickets button")
        wait_for(lambda: waiting in browser.text("title"), "the late page knows where it stands")
        assert browser.text("draft") == draft
        browser.press("#approve")
        wait_for(lambda: "sent by the page" in browser.text("title"), "it is closed")
        browser.press("#tenants button:nth-child(2)")
        wait_for(lambda: "connected" in browser.text("link"), "the other tenant's desk opens")
        assert browser.text("tickets") == "", "tenants do not meet"
        assert browser.text("problem") == "", browser.text("problem")
    finally:
        browser.call("DELETE", browser.session)


def main():
    program, example = sys.argv[1:]
    if not shutil.which("chromedriver") or not shutil.which("chromium"):
        print("skipped: no chromium and chromedriver here")
        return SKIPPED
    children = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            play(folder, program, example, children)
        except BaseException:
            for child in children:
                with open(child.path, encoding="utf-8") as output:
                    print(f"--- {child.words[0]}", output.read()[-2000:], sep="\n")
            raise
        finally:
            for child in reversed(children):
                child.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
