"""What S3 checks and hides, and moto does not: checksums, conditions on a copy, keys that are not there, and regions."""

import base64
import hashlib
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlparse

from moto.s3 import responses
from moto.s3.exceptions import MissingBucket, MissingKey, MissingVersion, PreconditionFailed, S3AccessDeniedError, S3ClientError

DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    "Content-MD5": lambda body: hashlib.md5(body, usedforsecurity=False).digest(),
    "x-amz-checksum-sha256": lambda body: hashlib.sha256(body).digest(),
    "x-amz-checksum-sha1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    "x-amz-checksum-crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
}
"""By the header that announces it. A checksum in the trailer of a chunked body is not looked at."""

READS = ("GET", "HEAD")

LISTABLE: set[str] = set()
"""Accounts whose callers may list every bucket: they are told that a key is not there."""

REDIRECTS = {"301": "PermanentRedirect", "400": "AuthorizationHeaderMalformed"}
"""How S3 refuses a request that was sent, or signed, for another region than the bucket's; by the status."""

REFUSED_WITH: dict[str, str] = {}
"""The status that a bucket of another region is refused with; 301 where nothing is said."""

plain_bucket = responses.S3Response._bucket_response
plain_key = responses.S3Response._key_response
plain_put = responses.S3Response.put_object
plain_copy = responses.S3Response.copy_object
plain_part = responses.S3Response.upload_part
plain_parts = responses.S3Response.list_parts


def install() -> None:
    """Puts these checks in front of moto's."""
    responses.S3Response._bucket_response = bucket
    responses.S3Response._key_response = key
    responses.S3Response.put_object = put
    responses.S3Response.copy_object = copy
    responses.S3Response.list_parts = parts
    responses.S3Response.upload_part = part


def bucket(self: responses.S3Response, request: Any, full_url: str) -> Any:
    return elsewhere(self) or plain_bucket(self, request, full_url)


def key(self: responses.S3Response, request: Any, full_url: str) -> Any:
    """A caller who may not list a key is not told that it is not there: 403 instead of 404 (API reference of GetObject and HeadObject)."""
    if redirect := elsewhere(self):
        return redirect
    hides = request.method in READS and not may_list(self, self.parse_key_name())
    try:
        answer = plain_key(self, request, full_url)
    except (MissingKey, MissingVersion) as missing:
        raise S3AccessDeniedError if hides else missing
    if hides and isinstance(answer, tuple) and answer[0] == 404:
        return 403, {"content-type": "application/xml"}, ""
    return answer


def may_list(self: responses.S3Response, key: str) -> bool:
    """Whether the caller has `s3:ListBucket` for that key, as a proxy that judged the call says it, or the account's tests."""
    return self.headers.get("x-overlay-lists") == "yes" or self.current_account in LISTABLE


def elsewhere(self: responses.S3Response) -> Any:
    """The refusal of a request that was signed for another region than the bucket's; None where it was not."""
    try:
        region = self.backend.head_bucket(self.bucket_name).region_name
    except MissingBucket:
        return None
    if self.region == region:
        return None
    status = REFUSED_WITH.get(self.bucket_name, "301")
    if self.request.method == "HEAD":
        return int(status), {"x-amz-bucket-region": region}, ""
    code = REDIRECTS[status]
    if status == "400":
        said = f"The authorization header is malformed; the region '{self.region}' is wrong; expecting '{region}'"
        return 400, {}, f"<Error><Code>{code}</Code><Message>{said}</Message><Region>{region}</Region></Error>"
    said = "The bucket you are attempting to access must be addressed using the specified endpoint."
    endpoint = f"{self.bucket_name}.s3.{region}.amazonaws.com"
    body = f"<Error><Code>{code}</Code><Message>{said}</Message><Endpoint>{endpoint}</Endpoint></Error>"
    return 301, {"x-amz-bucket-region": region}, body


def put(self: responses.S3Response) -> Any:
    check(self)
    return plain_put(self)


def part(self: responses.S3Response) -> Any:
    check(self)
    return plain_part(self)


def parts(self: responses.S3Response) -> Any:
    """With the checksum of each part, by which an upload that was cut off is gone on with, and under S3's own name."""
    upload = self.backend.get_bucket(self.bucket_name).multiparts.get(self._get_param("uploadId"))
    plain = self.serialized

    def with_checksums(answer: Any) -> Any:
        for listed in answer.result["Parts"]:
            body = upload.parts[listed["PartNumber"]].value
            listed["ChecksumSHA256"] = base64.b64encode(DIGESTS["x-amz-checksum-sha256"](body)).decode()
        status, headers, text = plain(answer)
        return status, headers, text.replace("ListPartsResponse", "ListPartsResult")

    self.serialized = with_checksums
    return plain_parts(self)


def check(self: responses.S3Response) -> None:
    for header, digest in DIGESTS.items():
        said = self.headers.get(header)
        if said and said != base64.b64encode(digest(self.body or b"")).decode():
            raise S3ClientError("BadDigest", f"The {header} you specified did not match what we received.")


def copy(self: responses.S3Response) -> Any:
    bucket, key = unquote(urlparse(self.headers["x-amz-copy-source"]).path).lstrip("/").split("/", 1)
    wanted = self.headers.get("x-amz-copy-source-if-match")
    source = self.backend.get_object(bucket, key)
    if source is None and not may_list(self, key):
        raise S3AccessDeniedError
    if wanted and source is not None and wanted.strip('"') != source.etag.strip('"'):
        raise PreconditionFailed("x-amz-copy-source-If-Match")
    there = self.backend.get_object(self.bucket_name, self.parse_key_name())
    if self.headers.get("If-None-Match") == "*" and there:
        raise PreconditionFailed("If-None-Match")
    if expected := self.headers.get("If-Match"):
        if there is None:
            raise MissingKey(key=self.parse_key_name())
        if expected.strip('"') != there.etag.strip('"'):
            raise PreconditionFailed("If-Match")
    return plain_copy(self)
