"""A real Chromium without a window, led by its own protocol through two pipes: no driver and no port are needed."""

import base64
import itertools
import json
import os
import shutil
import subprocess

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


class Browser:
    """One tab.

    Args:
        folder: for its profile.
    """

    def __init__(self, folder):
        theirs, ours = os.pipe()
        mine, its = os.pipe()
        flags = [
            "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--disable-background-networking",
            "--no-first-run", "--autoplay-policy=no-user-gesture-required", f"--user-data-dir={folder / 'profile'}",
        ]  # fmt: skip
        # The protocol is spoken on the descriptors 3 and 4.
        command = ["bash", "-c", f'exec "$@" 3<&{theirs} 4>&{its}', "bash", CHROMIUM, *flags, "about:blank"]
        self.process = subprocess.Popen(
            command, pass_fds=(theirs, its), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs)
        os.close(its)
        self._to, self._from = os.fdopen(ours, "wb", 0), os.fdopen(mine, "rb", 0)
        self._left, self._numbers = b"", itertools.count(1)
        self.events = []
        (tab,) = [t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        found = self._call("Target.attachToTarget", targetId=tab["targetId"], flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def _call(self, method, session=None, **parameters):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        self._to.write(json.dumps(message).encode() + b"\0")
        while True:
            found = self._read()
            if found.get("id") == number:
                assert "error" not in found, found
                return found["result"]
            self.events.append(found)

    def _read(self):
        while b"\0" not in self._left:
            part = self._from.read(65536)
            assert part, "Chromium has ended"
            self._left += part
        line, _, self._left = self._left.partition(b"\0")
        return json.loads(line)

    def call(self, method, **parameters):
        """One call of the protocol, about the tab."""
        return self._call(method, self._session, **parameters)

    def run(self, script):
        """The value of an expression; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script, seconds=20):
        """Wait until an expression is true."""
        waited = f"""new Promise((done, fail) => {{
          const end = Date.now() + {1000 * seconds};
          const look = () => {{
            if ({script}) done(true); else if (Date.now() > end) fail(new Error("never")); else setTimeout(look, 20);
          }};
          look();
        }})"""
        assert self.run(waited), script

    def open(self, url, width=1280, height=900, dark=False):
        """Load a page."""
        mobile = width < 500
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.call("Page.navigate", url=url)
        self.until('document.readyState === "complete" && location.href !== "about:blank"')

    def choose(self, selector, *files):
        """Give files to a field."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(one) for one in files])

    def press(self, key, modifiers=0, text=""):
        """One key."""
        codes = {"Tab": 9, "Enter": 13, " ": 32}
        known = {"key": key, "windowsVirtualKeyCode": codes.get(key, 0), "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **known)
        self.call("Input.dispatchKeyEvent", type="keyUp", **known)

    def write(self, words):
        """Words into what has the focus."""
        self.call("Input.insertText", text=words)

    def screenshot(self, file):
        """The whole page."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(found["data"]))

    @property
    def asked(self):
        """The addresses that were asked for."""
        told = [one["params"]["request"]["url"] for one in self.events if one["method"] == "Network.requestWillBeSent"]
        return [url for url in told if not url.startswith(("blob:", "data:"))]

    @property
    def complaints(self):
        """Errors and warnings of the console, and exceptions."""
        kinds = {"Runtime.exceptionThrown", "Log.entryAdded"}
        return [json.dumps(one["params"])[:500] for one in self.events if one["method"] in kinds]

    def close(self):
        """End it."""
        self._to.close()
        self._from.close()
        self.process.terminate()
        self.process.wait(20)
