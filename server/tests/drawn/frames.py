"""Frames as they lie in bytes (RFC 9113 §4.1), so that a draw can write what h2 would not."""

import collections

from hpack.hpack import encode_integer

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
# RFC 9218 §7.1.
PRIORITY_UPDATE = 16
# A type that no standard knows.
UNKNOWN = 0xEE
NAMES = "DATA HEADERS PRIORITY RST_STREAM SETTINGS PUSH_PROMISE PING GOAWAY WINDOW_UPDATE CONTINUATION".split()

ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITIZED = 0x20

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# The longest payload that the server takes (§4.2), and the largest window (§6.9.1).
LONGEST = 16384
LARGEST = 2**31 - 1

Frame = collections.namedtuple("Frame", "kind flags stream payload")


def write(kind, flags, stream, payload=b""):
    return head(len(payload), kind, flags, stream) + payload


def head(length, kind, flags, stream):
    return length.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")


def number(data):
    return int.from_bytes(data, "big")


def read(data):
    """The whole frames that `data` begins with, and what is left of it."""
    frames, at = [], 0
    while len(data) - at >= 9:
        end = at + 9 + number(data[at : at + 3])
        if len(data) < end:
            break
        frames.append(Frame(data[at + 3], data[at + 4], number(data[at + 5 : at + 9]) & LARGEST, data[at + 9 : end]))
        at = end
    return frames, data[at:]


def describe(frame):
    """A frame in a line of a trace."""
    kind = NAMES[frame.kind] if frame.kind < len(NAMES) else f"type {frame.kind:#x}"
    payload = frame.payload if frame.kind != DATA else b""
    shown = payload[:24].hex() + ("…" if len(payload) > 24 else "")
    return f"{kind} flags={frame.flags:#x} stream={frame.stream} length={len(frame.payload)} {shown}".rstrip()


def literal(name, value):
    """A field that no table keeps (RFC 7541 §6.2.2)."""
    return b"\0" + b"".join(bytes(encode_integer(len(text), 7)) + text for text in (name, value))


def setting(identifier, value):
    return write(SETTINGS, 0, 0, identifier.to_bytes(2, "big") + value.to_bytes(4, "big"))


def window_update(stream, more):
    return write(WINDOW_UPDATE, 0, stream, more.to_bytes(4, "big"))


def reset(stream, code=8):
    return write(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def priority(random, stream):
    """The fields of a priority (RFC 7540 §6.3): `stream` depends on any but itself."""
    on = random.choice((0, stream + 2, max(0, stream - 2), random.randint(0, 2**31 - 1)))
    return (random.choice((0, 1 << 31)) | (on if on != stream else 0)).to_bytes(4, "big") + random.randbytes(1)


def priority_update(stream, value):
    return write(PRIORITY_UPDATE, 0, 0, stream.to_bytes(4, "big") + value)
