"""Signatures are of now: a request whose `X-Amz-Date` is not is refused, as AWS does.

moto looks at no signature. S3 bears fifteen minutes (RequestTimeTooSkewed,
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html), the others five
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html).
"""

import json
import re
from datetime import datetime, timedelta, timezone
from typing import Any

S3_BEARS = timedelta(minutes=15)
OTHERS_BEAR = timedelta(minutes=5)

SCOPE = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/(?P<service>[^/]+)/aws4_request")


def refusal(environ: dict[str, Any]) -> tuple[str, str, bytes] | None:
    """Status, content type and body of the refusal; none when the signature is of now, or there is none."""
    scope = SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    stamp = environ.get("HTTP_X_AMZ_DATE")
    if not scope or not stamp:
        return None
    service = scope["service"]
    signed = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    now = datetime.now(timezone.utc)
    if abs(now - signed) <= (S3_BEARS if service == "s3" else OTHERS_BEAR):
        return None
    said = f"Signature expired or not yet current: {stamp} is not within the time that is borne of {now:%Y%m%dT%H%M%SZ}"
    match service:
        case "s3":
            code = "RequestTimeTooSkewed"
            body = f"<Error><Code>{code}</Code><Message>{said}</Message><RequestId>1</RequestId></Error>"
            return "403 Forbidden", "application/xml", body.encode()
        case "secretsmanager" | "servicequotas":
            body = json.dumps({"__type": "InvalidSignatureException", "message": said})
            return "400 Bad Request", "application/x-amz-json-1.1", body.encode()
        case "ec2":
            body = f"<Response><Errors><Error><Code>AuthFailure</Code><Message>{said}</Message></Error></Errors></Response>"
            return "401 Unauthorized", "text/xml", body.encode()
        case _:
            error = f"<Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>{said}</Message></Error>"
            return "403 Forbidden", "text/xml", f"<ErrorResponse>{error}</ErrorResponse>".encode()
