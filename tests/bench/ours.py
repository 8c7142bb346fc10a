"""The example server under test, and an honest visitor beside it."""

import multiprocessing
import os
import pathlib
import re
import resource
import socket
import ssl
import statistics
import subprocess
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
HTTP, HTTPS, METRICS = 18180, 18543, 19190
HEAD = b"GET /1k.html HTTP/1.1\r\nHost: localhost\r\n"
# The preface, empty settings, and the fields of GET / of localhost: HPACK's static table and two literals.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"


def fields(target):
    return b"\x82\x87\x04" + bytes([len(target)]) + target + b"\x41\x09localhost"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def trusting(protocol="http/1.1"):
    # Without the authorities of the system, which take a client milliseconds to read.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


def build():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    subprocess.run(["cargo", "build", "--release", "-p", "spothost-server", "--example", "serve"], cwd=ROOT, check=True)
    return target / "release" / "examples" / "serve"


def usual(package):
    package.writestr("1k.html", b"x" * 1024)
    package.writestr("big.bin", b"y" * (32 << 20))
    package.writestr("deflated.txt", os.urandom(1 << 20).hex(), zipfile.ZIP_DEFLATED, 6)


class Ours:
    """The example server, with a page of 1 KB, a stored file of 32 MB and a deflated one, or with what `site` packs."""

    def __init__(self, folder, binary, *more, files=65536, site=None):
        with zipfile.ZipFile(folder / "site.zip", "w") as package:
            (site or usual)(package)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
             "/CN=localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)  # fmt: skip
        command = [binary, "--package", folder / "site.zip", "--cert", folder / "cert.pem", "--key", folder / "key.pem",
                   "--http", f"127.0.0.1:{HTTP}", "--https", f"127.0.0.1:{HTTPS}", "--metrics", f"127.0.0.1:{METRICS}",
                   "--plain", "--threads", "1", "--connections-per-address", "30000", *more]  # fmt: skip
        files = min(files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        limit = f"ulimit -n {files}; exec \"$@\""
        self.process = subprocess.Popen(["sh", "-c", limit, "serve", *map(str, command)], stdout=subprocess.DEVNULL)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", HTTPS), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit("the server does not listen")

    def status(self, field):
        """A figure of /proc/PID/status, in KiB."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+)", text)[1])

    def unsent(self):
        """KiB that the kernel holds of what was written to connections and not yet taken, as `ss` tells."""
        text = subprocess.run(
            ["ss", "-Htmn", f"( sport = :{HTTP} or sport = :{HTTPS} )"], check=True, capture_output=True, text=True
        ).stdout
        return sum(map(int, re.findall(r"skmem:\([^)]*,w(\d+)", text))) // 1024

    def cpu(self):
        """Seconds of CPU used so far."""
        parts = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    def count(self, name):
        """A counter, as Prometheus sees it."""
        with socket.create_connection(("127.0.0.1", METRICS), 30) as stream:
            stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            text = b""
            while piece := stream.recv(65536):
                text += piece
        return int(re.search(rf"spothost_{name} (\d+)", text.decode())[1])

    def stop(self):
        self.process.send_signal(2)
        self.process.wait()


class Visitor:
    """One honest request after the other, each on a new TLS connection, from a process of its own."""

    def __enter__(self):
        self.end, (self.reader, writer) = multiprocessing.Event(), multiprocessing.Pipe(False)
        self.process = multiprocessing.Process(target=visit, args=(self.end, writer), daemon=True)
        self.process.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.waits = self.reader.recv()
        self.process.join()

    def said(self):
        """The longest wait, the 99th percentile, how many."""
        percentile = statistics.quantiles(self.waits, n=100)[98]
        return f"{max(self.waits) * 1000:.0f} ms | {percentile * 1000:.1f} ms | {len(self.waits)}"


def visit(end, writer):
    waits, context = [], trusting()
    while not end.is_set():
        begun = time.monotonic()
        with socket.create_connection(("127.0.0.1", HTTPS), 30) as plain, context.wrap_socket(plain) as stream:
            stream.sendall(HEAD + b"Connection: close\r\n\r\n")
            answer = b""
            while piece := stream.recv(65536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 200"), answer
        waits.append(time.monotonic() - begun)
        time.sleep(0.02)
    writer.send(waits)
