"""A connection to the server. h2 and hpack say and judge HTTP/2; the draws decide how what they say lies in frames, TLS records
and TCP segments, and may say beside them what they would not."""

import collections
import select
import socket
import ssl

import h2.config
import h2.connection
import h2.events
import h2.settings
import h2.windows
import hpack

import frames
from exchange import Exchange, Failure

# Longer than the server is silent where it has something to say, in seconds.
PATIENCE = 60
# Frames of a trace.
TRACED = 60
# How much room is made at once, in bytes.
ROOM = (1, 1, 2, 3, 10, 100, 1000, 16384, 65535, 100_000, 300_000)
# CONTINUATION frames of a field block that the server bears (CVE-2024-27316).
CONTINUATIONS = 32


consumed = h2.windows.WindowManager.window_consumed


def consume(window, size):
    """h2 refuses an empty frame where a window is below 0; RFC 9113 §6.9 does not."""
    if size:
        consumed(window, size)


h2.windows.WindowManager.window_consumed = consume


class Encoder(hpack.Encoder):
    """Codes short fields by the Huffman code, and long ones plainly: hpack takes long for these."""

    def encode(self, fields, huffman=True):
        fields = list(fields)
        return super().encode(fields, huffman and sum(len(name) + len(value) for name, value in fields) < 1000)


class Connection:
    """`random` draws how frames are written. `settings` are the first ones that the client says."""

    def __init__(self, server, random, settings=None, plainly=False, address=None):
        self.server, self.seed = server, random.random()
        # What is said of the connection. Each stream has its own, so that what is said there does not depend on the others.
        self.random = server.random_of(self.seed)
        # How bytes are cut, which depends on what has come.
        self.timely = server.random_of(f"{self.seed} in time")
        # Whether all is written as h2 writes it.
        self.plainly = plainly
        self.cutting = "whole" if plainly else random.choice(("whole", "pieces", "pieces", "pieces", "bytes"))
        # Where the next field blocks are cut; drawn if it is none.
        self.cuts = None
        self.exchanges = {}
        self.next_stream = 1
        # Streams that h2 does not know, and the status or code that each was answered with.
        self.foreign = {}
        self.pings, self.pongs = [], []
        # Settings that wait for those before to be acknowledged.
        self.settings, self.acknowledged = [], False
        self.goaways = []
        self.ended = False
        # What was said and heard last: frames with ">" or "<" before them, and words.
        self.trace = collections.deque(maxlen=TRACED)
        self.plain, self.wire, self.unread = [], [], b""
        self.compared, self.bytes = 0, 0
        self.greet(settings or {})
        self.dial(address or server.address)

    def greet(self, settings):
        config = h2.config.H2Configuration(
            client_side=True, header_encoding="latin-1", validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.local_settings = h2.settings.Settings(client=True, initial_values=settings)
        self.h2.max_inbound_frame_size = self.h2.local_settings.max_frame_size
        self.h2.decoder.max_allowed_table_size = self.h2.local_settings.header_table_size
        self.h2.encoder = Encoder()
        self.h2.initiate_connection()

    def dial(self, address):
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = self.server.trust.wrap_bio(self.incoming, self.outgoing, server_hostname=self.server.name)
        self.shaken = False
        while not self.shaken:
            try:
                self.tls.do_handshake()
                self.shaken = True
            except ssl.SSLWantReadError:
                self.send_sealed()
                self.exchange_bytes()
        if self.tls.selected_alpn_protocol() != "h2":
            raise Failure(f"ALPN chose {self.tls.selected_alpn_protocol()}")

    def close(self):
        self.socket.close()

    # Said by the client.

    def ask(self, request, held=False):
        """Sends a request, of which the content may still be to come; returns its exchange."""
        stream = self.take_stream()
        exchange = Exchange(stream, request, self.server.random_of(f"{self.seed} {stream}"))
        exchange.held = held
        self.exchanges[stream] = exchange
        self.h2.send_headers(stream, request.fields, end_stream=request.content is None)
        self.take_up()
        return exchange

    def take_stream(self):
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        return stream

    def take_foreign(self):
        """A stream that h2 is not told of."""
        stream = self.take_stream()
        self.foreign[stream] = None
        return stream

    def room_for_requests(self):
        most = self.h2.remote_settings.max_concurrent_streams
        return min(most, 2**16) - sum(not exchange.over for exchange in self.exchanges.values())

    def ping(self):
        payload = self.random.randbytes(8)
        self.pings.append(payload)
        self.h2.ping(payload)
        self.take_up()

    def set(self, settings):
        """Says settings, once those before are acknowledged: h2 takes an acknowledgement for that of all."""
        self.settings.append(settings)
        self.say_settings()

    def say_settings(self):
        if self.settings and self.acknowledged:
            self.acknowledged = False
            self.h2.update_settings(self.settings.pop(0))
            self.take_up()

    def give_up(self, exchange, code):
        exchange.given_up = True
        self.h2.reset_stream(exchange.stream, code)
        self.take_up()

    def let_go(self):
        """Lets go what is held: most is given up, the rest goes on."""
        held = [exchange for exchange in self.exchanges.values() if exchange.held and not exchange.over]
        for number, exchange in enumerate(held):
            if number < 2 and self.random.random() < 0.3:
                exchange.held = False
            else:
                self.give_up(exchange, 8)

    def raw(self, data):
        """Sends frames that h2 is not told of."""
        self.take_up()
        whole, _ = frames.read(data)
        self.h2.outbound_flow_control_window -= sum(len(frame.payload) for frame in whole if frame.kind == frames.DATA)
        self.trace.extend((">", frame) for frame in whole)
        self.plain.append(data)

    def say(self, *said):
        for frame in said:
            self.trace.append((">", frame))
            self.plain.append(frames.write(*frame))

    def take_up(self):
        """Takes over what h2 has to say, with the field blocks in as many frames as is drawn."""
        data = self.h2.data_to_send()
        if data.startswith(frames.PREFACE):
            self.plain.append(frames.PREFACE)
            data = data[len(frames.PREFACE) :]
        begin, block = None, b""
        for frame in frames.read(data)[0]:
            if frame.kind not in (frames.HEADERS, frames.CONTINUATION) or self.plainly:
                self.say(frame)
                continue
            if frame.kind == frames.HEADERS:
                begin, block = frame, b""
            block += frame.payload
            if frame.flags & frames.END_HEADERS:
                self.say(*self.field_block(begin, block))

    def field_block(self, begin, block):
        """A field block in a HEADERS frame and CONTINUATION frames, cut and padded as is drawn."""
        cuts, random = self.cuts, self.exchanges[begin.stream].random
        if cuts is None:
            most = CONTINUATIONS - len(block) // 16000
            many = min(random.choice((0, 0, 1, 2, 5, most)), most)
            cuts = sorted(random.randint(0, len(block)) for _ in range(many))
        ends = [*cuts, len(block)]
        pieces = [block[start:end] for start, end in zip([0, *cuts], ends)]
        # No piece is longer than a frame may be.
        pieces = [piece[at : at + 16000] for piece in pieces for at in range(0, len(piece) or 1, 16000)]
        flags, before, behind = begin.flags & frames.END_STREAM, b"", b""
        if random.random() < 0.3:
            padding = random.choice((0, 1, random.randint(0, 255), 255))
            flags, before, behind = flags | frames.PADDED, bytes((padding,)), bytes(padding)
        if random.random() < 0.2:
            flags |= frames.PRIORITIZED
            before += frames.priority(random, begin.stream)
        last = len(pieces) - 1
        for number, piece in enumerate(pieces):
            end = frames.END_HEADERS if number == last else 0
            if number == 0:
                yield frames.Frame(frames.HEADERS, flags | end, begin.stream, before + piece + behind)
            else:
                yield frames.Frame(frames.CONTINUATION, end, begin.stream, piece)

    # Both directions.

    def until(self, done, what):
        """Goes on with all that is under way until `done()`."""
        while not done():
            if self.ended:
                raise Failure(f"the connection ended before {what}; GOAWAY: {self.goaways}")
            self.go_on()
            self.exchange_bytes()
        self.go_on()

    def once(self):
        """Writes what there is and reads what has come, without waiting for it."""
        self.go_on()
        self.exchange_bytes(0)

    def until_closed(self):
        """Reads to the end of the connection."""
        while not self.ended:
            self.exchange_bytes()

    def go_on(self):
        """Sends content as far as there is room for it, and makes room where there is none."""
        if self.ended:
            return
        for exchange in self.exchanges.values():
            if exchange.over:
                continue
            if exchange.unsent is not None and not exchange.held:
                self.send_content(exchange)
            if not exchange.held and not exchange.ended and exchange.reset is None:
                self.make_room(exchange)
        if self.h2.inbound_flow_control_window <= 0:
            self.h2.increment_flow_control_window(self.timely.choice(ROOM))
        self.take_up()

    def send_content(self, exchange):
        """Sends a drawn part of what is left, if there is room for it, and at last the trailers or an empty frame."""
        random = exchange.random
        while exchange.unsent:
            padding = random.choice((None, None, 0, random.randint(0, 255)))
            window = min(self.h2.local_flow_control_window(exchange.stream), frames.LONGEST)
            most = window - (0 if padding is None else padding + 1)
            if most <= 0:
                return
            length = min(most, len(exchange.unsent), random.choice((1, 10, 1000, 16384)))
            piece, exchange.unsent = exchange.unsent[:length], exchange.unsent[length:]
            ends = not exchange.unsent and not exchange.request.trailers and random.random() < 0.7
            self.h2.send_data(exchange.stream, piece, end_stream=ends, pad_length=padding)
            if ends:
                exchange.unsent = None
            self.take_up()
        if exchange.unsent is not None:
            exchange.unsent = None
            if exchange.request.trailers:
                self.h2.send_headers(exchange.stream, exchange.request.trailers, end_stream=True)
            else:
                self.h2.end_stream(exchange.stream)
            self.take_up()

    def make_room(self, exchange):
        window = self.h2.remote_flow_control_window(exchange.stream)
        if window > 0 or not self.acknowledged:
            return
        more = exchange.random.choice(ROOM)
        if window < 0 and exchange.random.random() < 0.5:
            more += -window
        self.h2.increment_flow_control_window(more, exchange.stream)

    def seal(self):
        """Turns what is to be said into TLS records, and these into TCP segments."""
        if self.cutting == "whole":
            self.plain = [b"".join(self.plain)] if self.plain else []
        for data in self.plain:
            for piece in self.cut(data):
                self.tls.write(piece)
        self.plain = []
        self.send_sealed()

    def send_sealed(self):
        if self.outgoing.pending:
            self.wire += self.cut(self.outgoing.read())

    def cut(self, data):
        if self.cutting == "whole" or self.timely.random() < 0.5:
            return [data]
        if self.cutting == "bytes" and len(data) <= 200 and self.timely.random() < 0.2:
            return [data[at : at + 1] for at in range(len(data))]
        cuts = sorted(self.timely.randint(0, len(data)) for _ in range(self.timely.randint(1, 3)))
        pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)])]
        return [piece for piece in pieces if piece]

    def exchange_bytes(self, wait=PATIENCE):
        """Writes and reads what can be, once something can be."""
        if self.shaken:
            self.seal()
        readable, writable, _ = select.select([self.socket], [self.socket] if self.wire else [], [], wait)
        if wait and not readable and not writable:
            waiting = [exchange.stream for exchange in self.exchanges.values() if not exchange.over]
            raise Failure(f"nothing comes for {wait} s; streams {waiting} are not over")
        if writable:
            self.write_wire()
        if readable:
            data = self.socket.recv(1 << 18)
            self.incoming.write(data) if data else self.incoming.write_eof()
            if self.shaken:
                self.read_plain()

    def write_wire(self):
        try:
            while self.wire:
                sent = self.socket.send(self.wire[0])
                self.wire[0] = self.wire[0][sent:]
                if not self.wire[0]:
                    self.wire.pop(0)
        except BlockingIOError:
            pass

    def read_plain(self):
        try:
            while data := self.tls.read(1 << 18):
                self.unread += data
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        whole, self.unread = frames.read(self.unread)
        for frame in whole:
            self.hear(frame)
        self.take_up()
        if self.ended and self.unread:
            raise Failure(f"the connection ended within a frame: {self.unread[:20]!r}")

    # Said by the server.

    def hear(self, frame):
        self.trace.append(("<", frame))
        if frame.kind == frames.GOAWAY:
            last, code = frames.number(frame.payload[:4]), frames.number(frame.payload[4:8])
            self.goaways.append((last, code))
            return
        if self.goaways:
            raise Failure(f"something follows GOAWAY: {frames.describe(frame)}")
        if frame.stream in self.foreign:
            self.hear_foreign(frame)
            return
        if frame.kind == frames.RST_STREAM and frame.stream in self.exchanges:
            # h2 does not tell those of streams that are over.
            self.exchanges[frame.stream].reset = frames.number(frame.payload)
        try:
            for event in self.h2.receive_data(frames.write(*frame)):
                self.take(event)
        except h2.exceptions.H2Error as error:
            raise Failure(f"h2 refuses {frames.describe(frame)}: {type(error).__name__} {error}") from error

    def hear_foreign(self, frame):
        """An answer to what h2 was not told of."""
        if frame.kind == frames.RST_STREAM:
            self.foreign[frame.stream] = ("reset", frames.number(frame.payload))
        elif frame.kind == frames.HEADERS:
            status = dict(self.h2.decoder.decode(frame.payload)).get(":status")
            self.foreign[frame.stream] = ("status", int(status))
        elif frame.kind == frames.DATA and frame.payload:
            # h2 does not count it.
            self.raw(frames.window_update(0, len(frame.payload)))

    def take(self, event):
        events = h2.events
        match event:
            case events.ResponseReceived():
                self.exchanges[event.stream_id].answered(event.headers)
            case events.DataReceived():
                self.exchanges[event.stream_id].came(event.data)
                self.bytes += len(event.data)
            case events.TrailersReceived():
                self.exchanges[event.stream_id].followed(event.headers)
            case events.StreamEnded():
                self.exchanges[event.stream_id].ended = True
                self.compared += 1
            case events.SettingsAcknowledged():
                self.acknowledged = True
                self.say_settings()
            case events.PingAckReceived():
                self.pongs.append(event.ping_data)
            case events.RemoteSettingsChanged() | events.WindowUpdated() | events.StreamReset():
                pass
            # h2 answers the one that measures a round trip.
            case events.PingReceived(ping_data=b"measured"):
                pass
            case _:
                raise Failure(f"what nobody asked for: {event}")

    # Judged.

    def note(self, what):
        """Notes in the trace what follows."""
        self.trace.append(("--", what))

    def traced(self):
        lines = ((sign, frames.describe(said) if sign != "--" else said) for sign, said in self.trace)
        return "\n".join(f"{sign} {said}" for sign, said in lines)

    def check(self):
        """Compares all that came on a connection that goes on."""
        if self.goaways:
            raise Failure(f"GOAWAY {self.goaways} without a reason")
        if self.pongs != self.pings[: len(self.pongs)]:
            raise Failure(f"PING {self.pings} was answered with {self.pongs}")
        for exchange in self.exchanges.values():
            exchange.check()

    def is_over(self):
        return self.pongs == self.pings and all(exchange.over for exchange in self.exchanges.values())

    def finish(self):
        """Lets all that is under way end, and compares it."""
        self.until(self.is_over, "all was answered")
        self.check()

    def ping_to_and_fro(self):
        """Two PINGs, one after the other: whatever was sent before them is judged by then."""
        for _ in range(2):
            self.ping()
            self.until(lambda: self.pongs == self.pings, "a PING was answered")


# Fields that are never indexed (RFC 7541 §6.2.3) make a block of the same bytes each time.
def never_indexed(fields):
    return [hpack.NeverIndexedHeaderTuple(name, value) for name, value in fields]
