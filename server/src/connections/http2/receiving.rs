//! What each type of frame does (RFC 9113 §6).

use std::task::Context;

use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::{
    frame::{self, ErrorCode, FrameHead, LONGEST, flag, setting},
    priority::Priority,
    protocol::{CONTINUATIONS, DRAINING, Drain, HeadersFlags, OpenBlock, Protocol},
    receive_window::{MEASURING, Unread},
    request::RequestFields,
    stream::{self, State, Stream, Upload},
    window::Overflow,
};

impl Protocol {
    pub(super) fn data(&mut self, head: FrameHead, payload: &[u8], out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        self.check_begun(head.stream)?;
        // Padding counts, and so does what comes for a stream that is gone (§6.9.1).
        self.receiving.take(payload.len())?;
        // An empty frame takes no room, and is no reason to look at all streams.
        if !payload.is_empty() {
            self.busy = true;
            if self.withholds_room() {
                self.more_room(out);
            }
        }
        let content = frame::unpadded(head, payload).ok_or(ErrorCode::Protocol)?;
        let Some(at) = self.find(head.stream) else {
            return if self.was_reset(head.stream) {
                Ok(())
            } else {
                self.reset(head.stream, ErrorCode::StreamClosed, out)
            };
        };
        let stream = &mut self.streams[at];
        let Some(coming) = &mut stream.content else {
            return self.reset(head.stream, ErrorCode::StreamClosed, out);
        };
        if let Err(code) = coming.take(content.len(), payload.len()) {
            return self.reset(head.stream, code, out);
        }
        let is_wanted = stream.inbox.as_ref().is_some_and(|inbox| inbox.push(content));
        if !is_wanted {
            coming.scrap(content.len());
        }
        if head.has(flag::END_STREAM) {
            return self.content_ends(at, Some(HeaderMap::new()), out);
        }
        // What is wanted makes room when it is read.
        if !is_wanted && let Some(more) = coming.more_room(0) {
            frame::write_window_update(head.stream, more, out);
        }
        Ok(())
    }

    /// Enlarges the client's connection window again, unless too much of what it sent is unread.
    fn more_room(&mut self, out: &mut Vec<u8>) {
        if self.receiving.may_have_more()
            && let Some(more) = self.receiving.free(self.unread())
        {
            frame::write_window_update(0, more, out);
            self.receiving.add(more);
        }
    }

    /// What all streams have not taken.
    pub(super) fn unread(&self) -> Unread {
        let mut unread = Unread::default();
        for stream in &self.streams {
            let bytes = stream.unread();
            unread.bytes += bytes;
            unread.reserved += stream.reserved(bytes);
        }
        unread
    }

    /// Whether the client has little room on all streams, and can be given more.
    pub(super) fn can_make_room(&self) -> bool {
        self.withholds_room() && self.receiving.free(self.unread()).is_some()
    }

    /// Whether the client gets no more room on all streams than it has: how fast it sends is not its choice.
    pub(super) fn withholds_room(&self) -> bool {
        self.receiving.is_narrow()
    }

    /// Gives back the room of streams that are over, which other connections may need.
    pub(super) fn give_back_room(&mut self) {
        if self.receiving.reserves() {
            let unread = self.unread();
            self.receiving.settle(unread);
        }
    }

    /// Tells the client what has become of the content that it sends: how much room there is again, and whether it is to send it
    /// at all.
    pub(super) fn tell_of_content(&mut self, context: &Context<'_>, out: &mut Vec<u8>) {
        if !self.busy {
            return;
        }
        for stream in &mut self.streams {
            let Some(inbox) = &stream.inbox else { continue };
            let look = inbox.look(context);
            if look.asks && matches!(stream.state, State::PendingResponse(_)) {
                let encoder = &mut self.encoder;
                frame::write_headers(stream.id, false, out, |out| encoder.begin(StatusCode::CONTINUE, out));
            }
            if let Some(content) = &mut stream.content {
                if look.dropped {
                    content.let_go(self.bounds.content);
                }
                if let Some(more) = content.more_room(look.unread) {
                    frame::write_window_update(stream.id, more, out);
                }
            }
            if look.dropped {
                stream.inbox = None;
            }
        }
        self.more_room(out);
        self.measure(out);
    }

    /// Asks the client how long a round trip takes, if larger windows may be of use.
    fn measure(&mut self, out: &mut Vec<u8>) {
        if self.receiving.is_measuring() || !self.streams.iter().any(Stream::wants_measure) {
            return;
        }
        frame::write_ping(0, MEASURING, out);
        self.receiving.measure();
        self.uploads().for_each(Upload::measure);
    }

    /// What still comes of requests.
    fn uploads(&mut self) -> impl Iterator<Item = &mut Upload> {
        self.streams.iter_mut().filter_map(|stream| stream.content.as_mut())
    }

    /// The client has answered.
    fn measured(&mut self) {
        if !self.receiving.has_measured() {
            return;
        }
        for stream in &mut self.streams {
            let unread = stream.unread();
            if let Some(content) = &mut stream.content {
                content.measured(unread, &mut self.receiving);
            }
        }
    }

    /// The content of the request at that place has come, with trailers or none; `None` if those are not to be had.
    fn content_ends(&mut self, at: usize, trailers: Option<HeaderMap>, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        let stream = &mut self.streams[at];
        if stream.content.take().is_some_and(|content| !content.may_end()) {
            let id = stream.id;
            return self.reset(id, ErrorCode::Protocol, out);
        }
        match (&stream.inbox, trailers) {
            (Some(inbox), Some(trailers)) => inbox.end(Some(trailers).filter(|trailers| !trailers.is_empty())),
            (Some(inbox), None) => inbox.cut(),
            (None, _) => {}
        }
        Ok(())
    }

    pub(super) fn headers(&mut self, head: FrameHead, payload: &[u8], out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        if head.stream.is_multiple_of(2) {
            return Err(ErrorCode::Protocol);
        }
        let mut block = frame::unpadded(head, payload).ok_or(ErrorCode::Protocol)?;
        let mut begun = HeadersFlags { stream: head.stream, ends: head.has(flag::END_STREAM), on_itself: false };
        if head.has(flag::PRIORITY) {
            let (priority, rest) = block.split_at_checked(5).ok_or(ErrorCode::FrameSize)?;
            begun.on_itself = frame::number(priority) == Some(head.stream);
            block = rest;
        }
        if head.has(flag::END_HEADERS) {
            return self.fields(begun, block, out);
        }
        self.block = Some(OpenBlock { begun, bytes: block.to_vec(), frames: 0 }.into());
        Ok(())
    }

    pub(super) fn continuation(&mut self, head: FrameHead, payload: &[u8], out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        let mut block = self.block.take().ok_or(ErrorCode::Protocol)?;
        block.bytes.extend_from_slice(payload);
        block.frames += 1;
        // A head that is somewhat too large is answered; what goes on for longer is meant to.
        if block.bytes.len() > 2 * self.bounds.head.max(LONGEST) || block.frames > CONTINUATIONS {
            return Err(ErrorCode::EnhanceYourCalm);
        }
        if head.has(flag::END_HEADERS) {
            return self.fields(block.begun, &block.bytes, out);
        }
        self.block = Some(block);
        Ok(())
    }

    /// A whole field block: a request, or its trailers (§8.1).
    fn fields(&mut self, begun: HeadersFlags, block: &[u8], out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        let HeadersFlags { stream: id, ends, on_itself } = begun;
        let mut fields = RequestFields::new(self.bounds.head);
        if on_itself {
            fields.refuse();
        }
        self.decoder.decode(block, &mut fields)?;
        // Unless it was announced, `:protocol` is a pseudo-field that is not known (RFC 8441 §3).
        if !self.bounds.opens && fields.is_extended() {
            fields.refuse();
        }
        if id > self.last {
            self.last = id;
            let priority = self.early_priority(id);
            return self.request(id, ends, fields, priority, out);
        }
        let Some(at) = self.find(id) else {
            return if self.was_reset(id) { Ok(()) } else { Err(ErrorCode::StreamClosed) };
        };
        match &self.streams[at].content {
            None => self.reset(id, ErrorCode::StreamClosed, out),
            Some(_) if !ends || !fields.are_trailers() => self.reset(id, ErrorCode::Protocol, out),
            Some(_) => self.content_ends(at, fields.trailers(), out),
        }
    }

    /// A request, whose priority was said before it or is said by its fields.
    fn request(
        &mut self,
        id: u32,
        ends: bool,
        fields: RequestFields,
        priority: Option<Priority>,
        out: &mut Vec<u8>,
    ) -> Result<(), ErrorCode> {
        if matches!(self.drain, Drain::After(last) if id > last) {
            return Ok(());
        }
        if self.streams.len() >= self.bounds.streams {
            return self.reset(id, ErrorCode::RefusedStream, out);
        }
        let Ok(head) = fields.head() else { return self.reset(id, ErrorCode::Protocol, out) };
        if ends && head.announced.is_some_and(|announced| announced > 0) {
            return self.reset(id, ErrorCode::Protocol, out);
        }
        let content = (!ends).then(|| Upload::new(head.announced, Instant::now() + self.bounds.content));
        if self.streams.is_empty() {
            self.streams = stream::room();
            self.busy = false;
        }
        self.busy |= !ends;
        let mut stream = Stream::new(id, self.initial, head, content);
        stream.priority = priority.unwrap_or(stream.priority);
        self.streams.push(stream);
        Ok(())
    }

    /// The deprecated priorities, which are ignored (§5.3.2). A stream that is idle cannot be reset (§6.4): the
    /// connection ends for it.
    pub(super) fn priority(&mut self, head: FrameHead, payload: &[u8], out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        let code = match payload.len() {
            5 if frame::number(payload) == Some(head.stream) => ErrorCode::Protocol,
            5 => return Ok(()),
            _ => ErrorCode::FrameSize,
        };
        match self.check_begun(head.stream) {
            Ok(()) => self.reset(head.stream, code, out),
            Err(_) => Err(code),
        }
    }

    /// What is said of a stream before it begins is kept until then; one that is over does not matter (RFC 9218 §7.1).
    pub(super) fn priority_update(&mut self, payload: &[u8]) -> Result<(), ErrorCode> {
        let (id, value) = payload.split_at_checked(4).ok_or(ErrorCode::FrameSize)?;
        // Those of the server are even, and there are none.
        let id = frame::number(id).filter(|id| !id.is_multiple_of(2)).ok_or(ErrorCode::Protocol)?;
        let priority = Priority::updated(value);
        if let Some(at) = self.find(id) {
            self.streams[at].priority = priority;
        } else if id > self.last {
            return self.keep_early(id, priority);
        }
        Ok(())
    }

    /// No more of them are kept than could begin (RFC 9218 §7.1).
    fn keep_early(&mut self, id: u32, priority: Priority) -> Result<(), ErrorCode> {
        if !self.early.contains_key(&id) && self.streams.len() + self.early.len() >= self.bounds.streams {
            return Err(ErrorCode::Protocol);
        }
        self.early.insert(id, priority);
        Ok(())
    }

    /// What was said of the stream that begins now. Those before it will never begin (RFC 9113 §5.1.1).
    fn early_priority(&mut self, id: u32) -> Option<Priority> {
        if self.early.is_empty() {
            return None;
        }
        let priority = self.early.remove(&id);
        self.early = self.early.split_off(&id);
        priority
    }

    pub(super) fn rst_stream(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), ErrorCode> {
        if payload.len() != 4 {
            return Err(ErrorCode::FrameSize);
        }
        self.check_begun(head.stream)?;
        let Some(at) = self.find(head.stream) else { return Ok(()) };
        let stream = self.streams.remove(at);
        // Rapid reset (CVE-2023-44487): what is begun costs more than what was not looked at, but people do change their mind.
        let (count, most) = match stream.state {
            State::Asked(_) => (&mut self.resets, self.bounds.resets),
            State::PendingResponse(_) => (&mut self.cancelled, self.bounds.streams),
            State::Answered(_) | State::Over => return Ok(()),
        };
        *count += 1;
        if *count > most {
            return Err(ErrorCode::EnhanceYourCalm);
        }
        Ok(())
    }

    pub(super) fn settings(&mut self, head: FrameHead, payload: &[u8], out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        if head.has(flag::ACK) {
            return if payload.is_empty() { Ok(()) } else { Err(ErrorCode::FrameSize) };
        }
        if !payload.len().is_multiple_of(6) {
            return Err(ErrorCode::FrameSize);
        }
        for (id, value) in frame::settings(payload) {
            match id {
                setting::HEADER_TABLE_SIZE => self.encoder.resize(value as usize),
                setting::ENABLE_PUSH | setting::NO_RFC7540_PRIORITIES if value > 1 => return Err(ErrorCode::Protocol),
                setting::INITIAL_WINDOW_SIZE => {
                    let change = self.initial.set(value)?;
                    self.streams.iter_mut().try_for_each(|stream| stream.window.change(change))?;
                }
                // Frames are no longer than the least that this can be.
                setting::MAX_FRAME_SIZE if !(LONGEST as u32..1 << 24).contains(&value) => {
                    return Err(ErrorCode::Protocol);
                }
                _ => {}
            }
        }
        frame::write_settings_ack(out);
        Ok(())
    }

    pub(super) fn ping(&mut self, head: FrameHead, payload: &[u8], out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        let payload: [u8; 8] = payload.try_into().map_err(|_| ErrorCode::FrameSize)?;
        if !head.has(flag::ACK) {
            frame::write_ping(flag::ACK, payload, out);
        } else if payload == MEASURING {
            self.measured();
        } else if payload == DRAINING && self.drain == Drain::Told {
            self.drain = Drain::After(self.last);
            frame::write_goaway(self.last, ErrorCode::No, out);
        }
        Ok(())
    }

    pub(super) fn window_update(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), ErrorCode> {
        let more = frame::number(payload).filter(|_| payload.len() == 4).ok_or(ErrorCode::FrameSize)?;
        if head.stream == 0 {
            return match more {
                0 => Err(ErrorCode::Protocol),
                more => Ok(self.window.grow(more)?),
            };
        }
        self.check_begun(head.stream)?;
        let Some(at) = self.find(head.stream) else { return Ok(()) };
        if more == 0 {
            return self.reset(head.stream, ErrorCode::Protocol, out);
        }
        match self.streams[at].window.grow(more) {
            Ok(()) => Ok(()),
            Err(Overflow) => self.reset(head.stream, ErrorCode::FlowControl, out),
        }
    }
}
