#!/usr/bin/env python3
"""Drives a headless Chromium, over its DevTools protocol.

    browser.py CHROMIUM FOLDER ADDRESS <STEPS

Takes a JSON list of steps from its input, and prints what each gave as a JSON list:

* {"open": URL}: opens a page and waits until it has loaded; gives the protocol that it came over.
* {"run": EXPRESSION}: gives the expression's value in the page, its promise's if it is one.
* {"choose": [SELECTOR, PATH]}: chooses a file in a form's field.
* {"submit": EXPRESSION}: runs it, and waits until the page has loaded that it leads to; gives that page's text.
* {"screen": [WIDTH, HEIGHT, SCHEME]}: a screen of that size in CSS pixels, of a person who prefers `light` or `dark`.
* {"photograph": PATH}: writes what the screen shows as a PNG.

Certificates are not verified: whom Chromium trusts is the subject of other tests. FOLDER takes Chromium's profile and log.
ADDRESS is where `localhost` is taken to be.
"""

import asyncio
import base64
import itertools
import json
import pathlib
import sys

import websockets

FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--ignore-certificate-errors", "--no-first-run",
         "--remote-debugging-port=0", "--remote-allow-origins=*"]  # fmt: skip
PROTOCOL = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
# Longer than all steps take that work, in seconds.
PATIENCE = 300


class Page:
    """A page of the browser."""

    def __init__(self, socket):
        self.socket = socket
        self.numbers = itertools.count(1)
        self.events = []

    async def call(self, method, **parameters):
        """Calls a method; its result."""
        number = next(self.numbers)
        await self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(await self.socket.recv())
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message.get("method"))

    async def loaded(self):
        """Waits until the page has loaded that was asked for behind the last look at the events."""
        while "Page.loadEventFired" not in self.events:
            self.events.append(json.loads(await self.socket.recv()).get("method"))

    async def run(self, expression):
        """The expression's value."""
        result = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']['exception'].get('description')}")
        return result["result"].get("value")

    async def step(self, step):
        """What the step gives."""
        ((name, value),) = step.items()
        self.events.clear()
        if name == "open":
            moved = await self.call("Page.navigate", url=value)
            if "errorText" in moved:
                raise RuntimeError(f"{value}: {moved['errorText']}")
            await self.loaded()
            return await self.run(PROTOCOL)
        if name == "run":
            return await self.run(value)
        if name == "choose":
            root = (await self.call("DOM.getDocument"))["root"]["nodeId"]
            field = (await self.call("DOM.querySelector", nodeId=root, selector=value[0]))["nodeId"]
            await self.call("DOM.setFileInputFiles", nodeId=field, files=[value[1]])
            return None
        if name == "submit":
            await self.run(value)
            await self.loaded()
            return await self.run("document.documentElement.innerText")
        if name == "screen":
            width, height, scheme = value
            await self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            await self.call("Emulation.setEmulatedMedia", features=features)
            return None
        if name == "photograph":
            picture = await self.call("Page.captureScreenshot", format="png")
            pathlib.Path(value).write_bytes(base64.b64decode(picture["data"]))
            return None
        raise ValueError(f"there is no step {name}")


async def main(chromium, folder, address):
    """Takes all steps."""
    folder = pathlib.Path(folder)
    with (folder / "chromium.log").open("wb") as log:
        browser = await asyncio.create_subprocess_exec(
            chromium, *FLAGS, f"--user-data-dir={folder}/profile", f"--host-resolver-rules=MAP localhost {address}", stdout=log, stderr=log
        )
    try:
        print(json.dumps(await asyncio.wait_for(drive(browser, folder), PATIENCE)))
    finally:
        if browser.returncode is None:
            browser.kill()
        await browser.wait()


async def drive(browser, folder):
    """What each step gave, in a new page of the browser."""
    port = folder / "profile/DevToolsActivePort"
    while not port.exists() or "\n" not in port.read_text():
        if browser.returncode is not None:
            raise RuntimeError("Chromium ended: " + (folder / "chromium.log").read_text())
        await asyncio.sleep(0.05)
    number, path = port.read_text().split("\n")[:2]
    target = await new_page(f"ws://127.0.0.1:{number}{path}")
    async with websockets.connect(f"ws://127.0.0.1:{number}/devtools/page/{target}", max_size=None) as socket:
        page = Page(socket)
        await page.call("Page.enable")
        return [await page.step(step) for step in json.load(sys.stdin)]


async def new_page(url):
    """The id of a new page."""
    async with websockets.connect(url) as socket:
        return (await Page(socket).call("Target.createTarget", url="about:blank"))["targetId"]


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
