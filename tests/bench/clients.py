#!/usr/bin/env python3
"""Real clients against the example server: curl over HTTP/1.1 and HTTP/2, nghttp and h2load, and a headless Chromium.

    tests/bench/clients.py             # a minute; needs curl, nghttp2-client, chromium, brotli, zstd and openssl

Each line is one thing that a client did and what it saw. Ends with 1 where one saw something else.
"""

import argparse
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

from ours import HTTP, HTTPS, Ours, build

SITE = f"https://localhost:{HTTPS}"
TEXT = "".join(f"Line {number} of a text that shrinks.\n" for number in range(4000)).encode()
NOISE = os.urandom(3 << 20)
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000" "1f15c4890000000d49444154789c6360000002000001e221bc33" "0000000049454e44ae426082"
)  # fmt: skip

# What a page asks of its server through a browser; the answers are written into the page.
SCRIPT = """
import { value } from '/app-3f9c1a7b.js';
const seen = {};
const text = async (path, options) => (await fetch(path, options)).text();
seen.protocol = performance.getEntriesByType('navigation')[0].nextHopProtocol;
seen.module = value;
seen.style = getComputedStyle(document.body).backgroundColor;
seen.image = document.images[0].naturalWidth;
seen.json = (await (await fetch('/data.json')).json()).answer;
seen.length = (await text('/text.txt')).length;
seen.encoded = performance.getEntriesByName(new URL('/text.txt', location).href)[0].encodedBodySize < 20000;
const part = await fetch('/noise.bin', { headers: { range: 'bytes=100-199' } });
seen.part = [part.status, (await part.arrayBuffer()).byteLength];
const moved = await fetch('/old/page?a=b');
seen.moved = [moved.redirected, moved.url.replace(location.origin, ''), moved.status];
const missing = await fetch('/nothing/here');
seen.missing = [missing.status, (await missing.text()).includes('not found here')];
seen.clean = (await text('/about')).includes('about us');
seen.header = (await fetch('/data.json')).headers.get('x-of-the-package');
const tag = (await fetch('/1k.html', { cache: 'no-store' })).headers.get('etag');
seen.fresh = (await fetch('/1k.html', { cache: 'no-store', headers: { 'if-none-match': tag } })).status;
seen.posted = (await fetch('/data.json', { method: 'POST', body: 'x'.repeat(1 << 20) })).status;
seen.many = (await Promise.all([...Array(200).keys()].map(n => text(`/many/${n}.txt`)))).every((got, n) => got === `file ${n}`);
const aborted = new AbortController();
const large = await fetch('/noise.bin', { signal: aborted.signal });
await large.body.getReader().read();
aborted.abort();
seen.after = (await fetch('/1k.html')).status;
document.getElementById('seen').textContent = JSON.stringify(seen);
"""
SEEN = {
    "protocol": "h2", "module": 42, "style": "rgb(1, 2, 3)", "image": 1, "json": 42, "length": len(TEXT), "encoded": True,
    "part": [206, 100], "moved": [True, "/new/page?a=b", 200], "missing": [404, True], "clean": True, "header": "yes",
    "fresh": 304, "posted": 405, "many": True, "after": 200,
}  # fmt: skip


def site(package):
    def deflated(name, content):
        package.writestr(name, content, zipfile.ZIP_DEFLATED, 9)

    deflated("index.html", "<!doctype html><meta charset=utf-8><link rel=stylesheet href=/style.css><img src=/pixel.png>"
             "<pre id=seen></pre><script type=module src=/seen.js></script>")  # fmt: skip
    deflated("seen.js", SCRIPT)
    deflated("app-3f9c1a7b.js", "export const value = 42;")
    deflated("style.css", "body { background: rgb(1, 2, 3) }")
    package.writestr("pixel.png", PIXEL)
    package.writestr("data.json", '{"answer": 42}')
    deflated("about.html", "<title>about us</title>")
    deflated("new/page.html", "<title>the new page</title>")
    deflated("404.html", "<title>not found here</title>")
    package.writestr("_redirects", "/old/* /new/:splat 301\n")
    package.writestr("_headers", "/data.json\n  X-Of-The-Package: yes\n")
    package.writestr("1k.html", b"x" * 1024)
    package.writestr("noise.bin", NOISE)
    deflated("text.txt", TEXT)
    for name, command in (("br", ["brotli", "--stdout", "-"]), ("zst", ["zstd", "--quiet", "--stdout"])):
        package.writestr(f"text.txt.{name}", subprocess.run(command, input=TEXT, stdout=subprocess.PIPE, check=True).stdout)
    for number in range(200):
        package.writestr(f"many/{number}.txt", f"file {number}")


class Report:
    def __init__(self):
        self.wrong = 0

    def __call__(self, client, what, seen, expected):
        right = seen == expected
        self.wrong += not right
        print(f"{'ok' if right else 'WRONG':<6} {client:<10} {what}" + ("" if right else f": {str(seen)[:300]}, not {str(expected)[:300]}"), flush=True)


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, timeout=120)


def curl(report, folder, version):
    client = f"curl {version}"

    def ask(path, *options):
        """Status, header fields by lower-case name, body."""
        body, head = folder / "body", folder / "head"
        body.unlink(missing_ok=True)
        ran = run("curl", "--insecure", "--silent", "--show-error", f"--http{version}", "--dump-header", head, "--output", body, *options, SITE + path)
        if ran.returncode:
            return ran.returncode, {}, ran.stderr
        last = head.read_text().strip().split("\n\n")[-1].splitlines()
        fields = dict(line.lower().split(": ", 1) for line in last[1:] if ": " in line)
        return int(last[0].split()[1]), fields, body.read_bytes() if body.exists() else b""

    status, fields, body = ask("/noise.bin")
    report(client, "3 MB as they are", (status, body == NOISE, fields["content-length"]), (200, True, str(len(NOISE))))
    tag, when = fields["etag"], fields["last-modified"]
    report(client, "304 for its entity tag", ask("/noise.bin", "--header", f"If-None-Match: {tag}")[0], 304)
    report(client, "304 for its date", ask("/noise.bin", "--time-cond", when)[0], 304)
    report(client, "412 for another", ask("/noise.bin", "--header", 'If-Match: "other"')[0], 412)
    status, fields, body = ask("/noise.bin", "--range", "100-199")
    report(client, "a range", (status, body, fields["content-range"]), (206, NOISE[100:200], f"bytes 100-199/{len(NOISE)}"))
    status, fields, body = ask("/noise.bin", "--range", "0-9,100-109,-10")
    parts = [NOISE[0:10] in body, NOISE[100:110] in body, NOISE[-10:] in body]
    report(client, "three ranges", (status, parts, fields["content-type"].split(";")[0]), (206, [True] * 3, "multipart/byteranges"))
    report(client, "416 behind the end", ask("/noise.bin", "--range", "99999999-")[0], 416)
    for encoding, coded in (("gzip", gzip.decompress), ("br", plain("brotli", "--decompress", "--stdout", "-")), ("zstd", plain("zstd", "-d", "--stdout"))):  # fmt: skip
        status, fields, body = ask("/text.txt", "--header", f"Accept-Encoding: {encoding}")
        report(client, f"a text as {encoding}", (status, fields.get("content-encoding"), coded(body) == TEXT), (200, encoding, True))
    status, fields, body = ask("/text.txt")
    report(client, "a text as identity", (status, body == TEXT, fields["vary"]), (200, True, "accept-encoding"))
    report(client, "--compressed", ask("/text.txt", "--compressed")[2] == TEXT, True)
    report(client, "HEAD", (ask("/noise.bin", "--head")[1]["content-length"]), str(len(NOISE)))
    report(client, "405 after a MB", ask("/noise.bin", "--data-binary", f"@{pad(folder)}")[::2][0], 405)
    report(client, "a redirect, followed", ask("/old/page", "--location")[0], 200)
    report(client, "the package's own 404", b"not found here" in ask("/nothing")[2], True)
    for path in ("/../etc/passwd", "/%2e%2e/etc/passwd", "/..%5c..%5cetc/passwd", "/%00", "/_redirects", "/_headers"):
        report(client, f"nothing at {path}", ask(path, "--path-as-is")[0] in (400, 404), True)
    half = folder / "half"
    half.write_bytes(NOISE[: 1 << 20])
    run("curl", "--insecure", "--silent", f"--http{version}", "--continue-at", "-", "--output", half, SITE + "/noise.bin")
    report(client, "a download gone on with", half.read_bytes() == NOISE, True)
    many = folder / "many"
    many.mkdir(exist_ok=True)
    run("curl", "--insecure", "--silent", f"--http{version}", "--parallel", "--parallel-max", 50, "--output", many / "#1", SITE + "/many/[0-199].txt")
    right = all((many / str(number)).read_bytes() == b"file %d" % number for number in range(200))
    shutil.rmtree(many)
    report(client, "200 files in parallel", right, True)


def plain(*command):
    return lambda body: subprocess.run(command, input=body, capture_output=True).stdout


def pad(folder):
    path = folder / "pad"
    path.write_bytes(b"x" * (1 << 20))
    return path


def nghttp(report):
    said = run("nghttp", "--null-out", "--stat", "--multiply=100", "--weight=32", SITE + "/1k.html", SITE + "/noise.bin").stdout.decode()
    report("nghttp", "200 streams with priorities", len(re.findall(r"^ *\d+ +.* 200 .*/(?:1k.html|noise.bin)$", said, re.M)), 200)
    said = run("nghttp", "--verbose", "--null-out", SITE + "/text.txt").stdout.decode()
    report("nghttp", "a text by ALPN", ("The negotiated protocol: h2" in said, ":status: 200" in said), (True, True))
    for options in (["--window-bits=16"], ["--max-concurrent-streams=1"], ["--header-table-size=0"], ["--padding=255"], ["--continuation"]):
        said = run("nghttp", "--null-out", "--stat", *options, SITE + "/noise.bin").stdout.decode()
        report("nghttp", f"3 MB with {options[0]}", len(re.findall(r" 200 .*/noise.bin$", said, re.M)), 1)
    for options, count in ((["-m", "32"], 20_000), (["-m", "1", "--h1"], 20_000)):
        said = run("h2load", "-n", count, "-c", 20, *options, SITE + "/1k.html").stdout.decode()
        good = re.search(r"(\d+) succeeded, (\d+) failed", said)
        report("h2load", f"{count:,} requests, {' '.join(options)}", good and good.groups(), (str(count), "0"))


def chromium(report, folder):
    dom = run("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--ignore-certificate-errors",
              f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000", "--dump-dom", SITE + "/")  # fmt: skip
    found = re.search(r'<pre id="seen">(.*?)</pre>', dom.stdout.decode(), re.S)
    seen = json.loads(found[1].replace("&amp;", "&")) if found and found[1] else {}
    if not seen:
        report("chromium", "the page", (dom.stdout or dom.stderr).decode()[-2000:], "what it has seen")
    for what, expected in SEEN.items():
        report("chromium", what, seen.get(what), expected)


def main(folder, binary):
    report = Report()
    server = Ours(folder, binary, site=site)
    try:
        print(run("curl", "--version").stdout.decode().split(" (")[0], "|", run("nghttp", "--version").stdout.decode().strip(), "|",
              run("chromium", "--version").stdout.decode().strip())  # fmt: skip
        for version in ("1.1", "2"):
            curl(report, folder, version)
        redirect = run("curl", "--silent", "--head", f"http://localhost:{HTTP}/about").stdout.decode()
        report("curl", "plain HTTP, as this server was asked to", redirect.splitlines()[0].split()[1], "200")
        nghttp(report)
        chromium(report, folder)
    finally:
        server.stop()
    return report.wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, help="drive this build of the example instead of one that is made now")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clients-") as folder:
        wrong = main(pathlib.Path(folder), arguments.binary or build())
    if wrong:
        sys.exit(f"{wrong} wrong")
