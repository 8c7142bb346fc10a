"""S3's checks of what was sent, and of conditions on a copy, which moto does not make."""

import base64
import hashlib
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlparse

from moto.s3 import responses
from moto.s3.exceptions import MissingKey, PreconditionFailed, S3ClientError

DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    "Content-MD5": lambda body: hashlib.md5(body, usedforsecurity=False).digest(),
    "x-amz-checksum-sha256": lambda body: hashlib.sha256(body).digest(),
    "x-amz-checksum-sha1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    "x-amz-checksum-crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
}
"""By the header that announces it. A checksum in the trailer of a chunked body is not looked at."""

plain_put = responses.S3Response.put_object
plain_copy = responses.S3Response.copy_object
plain_part = responses.S3Response.upload_part
plain_parts = responses.S3Response.list_parts


def install() -> None:
    """Puts these checks in front of moto's."""
    responses.S3Response.put_object = put
    responses.S3Response.copy_object = copy
    responses.S3Response.list_parts = parts
    responses.S3Response.upload_part = part


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
