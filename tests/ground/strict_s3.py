"""A front of the S3 of the tests that checks what moto does not: AWS Signature Version 4.

    strict_s3.py UPSTREAM SECRET_KEY [REFUSALS]

Listens on a free port of 127.0.0.1 and prints it. A request is passed on to UPSTREAM when its signature is the one
that botocore computes from SECRET_KEY, and answered 403 SignatureDoesNotMatch otherwise. The first REFUSALS requests
are answered 503 SlowDown. Each request is printed as `METHOD PATH STATUS CLIENT`. Ends when its standard input does.
A HEAD of the bucket is passed on without any of this.
"""

import contextlib
import hashlib
import http.client
import http.server
import re
import sys
import threading
import urllib.parse

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

# Headers that S3 wants signed where they are sent (Amazon S3 API Reference, "Authenticating Requests").
MUST_BE_SIGNED = {"host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"}


def refusal(request, body, secret_key):
    """Why the signature of this request is wrong, or None."""
    given = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
        request.headers.get("Authorization", ""),
    )
    if not given:
        return "no AWS Signature Version 4 in Authorization"
    key_id, date, region, signed, signature = given.groups()
    sent = {name.lower() for name in request.headers}
    missing = {name for name in MUST_BE_SIGNED & sent if name not in signed.split(";")}
    if missing or "x-amz-content-sha256" not in sent or not request.headers.get("X-Amz-Date", "").startswith(date):
        return f"not signed or not sent: {sorted(missing) or 'x-amz-content-sha256 or x-amz-date'}"
    content = request.headers["X-Amz-Content-SHA256"]
    if content not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
        return "x-amz-content-sha256 is not the body's"
    again = AWSRequest(
        method=request.command,
        url=f"http://{request.headers['Host']}{request.path}",
        headers={name: request.headers[name] for name in signed.split(";")},
        data=body,
    )
    again.context["timestamp"] = request.headers["X-Amz-Date"]
    auth = S3SigV4Auth(Credentials(key_id, secret_key), "s3", region)
    expected = auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)
    return None if expected == signature else "the signature does not match"


class Front(http.server.BaseHTTPRequestHandler):
    """One connection to the front."""

    protocol_version = "HTTP/1.1"
    upstream, secret_key, refusals = None, None, 0

    def answer_any(self):
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length else b""
        if self.asks_for_the_region():
            return self.pass_on(body)
        if Front.refusals > 0:
            Front.refusals -= 1
            return self.say(503, "SlowDown", "Please reduce your request rate.")
        if why := refusal(self, body, Front.secret_key):
            return self.say(403, "SignatureDoesNotMatch", why)
        return self.pass_on(body)

    def asks_for_the_region(self):
        """Whether it is a HEAD of the bucket, by which anybody is told its region (API reference, "HeadBucket")."""
        return self.command == "HEAD" and self.path.count("/") == 1 and "Authorization" not in self.headers

    def pass_on(self, body):
        with contextlib.closing(http.client.HTTPConnection(Front.upstream, timeout=30)) as connection:
            try:
                connection.request(self.command, self.path, body=body or None, headers=dict(self.headers.items()))
                answer = connection.getresponse()
                content = answer.read()
            except OSError as problem:
                return self.say(502, "BadGateway", f"the S3 behind this front did not answer: {problem}")
        return self.send_answer(answer.status, answer.getheaders(), content)

    def say(self, status, code, message):
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
        self.send_answer(status, [("Content-Type", "application/xml")], text.encode())

    def send_answer(self, status, headers, body):
        client = self.headers.get("User-Agent", "none").split("/")[0]
        if not self.asks_for_the_region():
            print(self.command, self.path, status, client, flush=True)
        self.send_response_only(status)
        length = str(len(body))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        """Nothing: `send_answer` prints the one line there is."""

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer_any


def main():
    Front.upstream = urllib.parse.urlsplit(sys.argv[1]).netloc
    Front.secret_key = sys.argv[2]
    Front.refusals = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
