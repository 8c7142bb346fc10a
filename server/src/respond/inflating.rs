//! Inflating a response takes memory, so not everybody may have that at once.
//!
//! A response that is inflated holds about 75 KiB (deflate's window, the decoder, a piece of 32 KiB) from one piece to the next,
//! where one that is sent as it lies holds none. So there is a bound on how many hold that, and on how many of one client. What
//! may not happen is that somebody has it who does not use it, while others need it:
//!
//! * What fits one piece needs no place at all: it is inflated when it can be sent, and nothing of it is kept. Only a client
//!   that takes less than that at once, by a small window, needs one for the rest: else each octet that it lets through would
//!   cost the piece again.
//! * A place belongs to the response that moves bytes. One that gave no piece for [`IDLE`] is free, and a client that has more places
//!   than another gives one to that other at once. A response that lost its place inflates again up to where it was, once it goes on.
//!
//! So a client that opens streams and takes nothing keeps no other client from a place, whatever windows it has.

use std::{
    collections::HashMap,
    net::IpAddr,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use crate::{
    quota::client,
    settings::Bounds,
    site::{Damaged, Inflate, PIECE},
};

/// After how long without a piece a place is free for others. A client that takes less than a piece in that time is slow enough for its
/// next piece to cost more.
const IDLE: Duration = Duration::from_secs(1);

/// All places there are.
#[derive(Debug)]
pub(crate) struct Inflaters {
    table: Mutex<Permits>,
    most: usize,
    most_of_client: usize,
}

#[derive(Debug, Default)]
struct Permits {
    /// The number of the next place that is taken.
    next: u64,
    taken: HashMap<u64, Granted>,
    of_client: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Granted {
    client: IpAddr,
    /// When it last gave a piece.
    moved: Instant,
    /// None while its holder inflates: then no other can take it away.
    begun: Option<Box<Inflating>>,
}

/// What a client may have of the places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InflateShare<'a> {
    pub(crate) places: &'a Arc<Inflaters>,
    pub(crate) client: IpAddr,
}

/// Where one response is inflated.
#[derive(Debug)]
pub(crate) enum Room {
    /// It fits one piece. The place, which nothing is kept at, is for what a client does not take at once.
    OnePiece(Permit),
    /// At a place, while it has one.
    Permit(Permit),
}

/// The place of one response, from the first piece on and for as long as no other needs it more.
#[derive(Debug)]
pub(crate) struct Permit {
    places: Arc<Inflaters>,
    client: IpAddr,
    number: Option<u64>,
}

/// A content that is being inflated.
#[derive(Debug)]
pub(crate) struct Inflating {
    inflate: Inflate,
    /// What was inflated last and not used yet, and where it stands in the content.
    held: Bytes,
    at: u64,
}

impl Inflaters {
    /// As many as these bounds say.
    pub(crate) fn new(bounds: &Bounds) -> Arc<Self> {
        let most = bounds.inflated;
        let most_of_client = bounds.inflated_per_address;
        Arc::new(Self { table: Mutex::default(), most, most_of_client })
    }

    fn table(&self) -> MutexGuard<'_, Permits> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which place is to be given up for one more of `client`'s; an error where none is.
    fn victim(&self, table: &Permits, client: IpAddr, now: Instant) -> Result<Option<u64>, Full> {
        let of_client = |client: &IpAddr| table.of_client.get(client).copied().unwrap_or(0);
        let mine = of_client(&client);
        let idle = |taken: &Granted| now.saturating_duration_since(taken.moved) >= IDLE;
        if mine >= self.most_of_client {
            return table.longest_unmoved(|taken| taken.client == client && idle(taken)).map(Some);
        }
        if table.taken.len() < self.most {
            return Ok(None);
        }
        let of_the_greedier = |taken: &Granted| of_client(&taken.client) > mine + 1;
        let most = table.of_client.values().copied().max().unwrap_or(0);
        let of_the_greediest = |taken: &Granted| of_the_greedier(taken) && of_client(&taken.client) == most;
        table.longest_unmoved(idle).or_else(|_| table.longest_unmoved(of_the_greediest)).map(Some)
    }
}

/// Every place moves bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Permits {
    fn longest_unmoved(&self, may: impl Fn(&Granted) -> bool) -> Result<u64, Full> {
        let may = self.taken.iter().filter(|(_, taken)| taken.begun.is_some() && may(taken));
        may.min_by_key(|(_, taken)| taken.moved).map(|(number, _)| *number).ok_or(Full)
    }

    fn take(&mut self, client: IpAddr, now: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        self.taken.insert(number, Granted { client, moved: now, begun: None });
        *self.of_client.entry(client).or_default() += 1;
        number
    }

    fn give_up(&mut self, number: u64) {
        let Some(taken) = self.taken.remove(&number) else { return };
        if let Some(count) = self.of_client.get_mut(&taken.client) {
            *count -= 1;
            if *count == 0 {
                self.of_client.remove(&taken.client);
            }
        }
    }
}

impl InflateShare<'_> {
    /// Where content of that size can be inflated. Nothing is taken before the first piece of it is.
    ///
    /// # Errors
    /// [`Full`] where no place is free now.
    pub(crate) fn room(self, size: u64) -> Result<Room, Full> {
        let client = client(self.client);
        let place = Permit { places: self.places.clone(), client, number: None };
        if size <= PIECE as u64 {
            return Ok(Room::OnePiece(place));
        }
        self.places.victim(&self.places.table(), client, Instant::now())?;
        Ok(Room::Permit(place))
    }
}

impl Room {
    /// Takes up to `most` bytes from the beginning of `part` of what `packed` holds, `size` bytes in all, and from `part` what
    /// was taken; empty where it has not come to the part yet.
    ///
    /// # Errors
    /// In the outer result [`Full`], where there is no place now; in the inner one what is no deflate stream.
    pub(crate) fn next(
        &mut self,
        packed: &Bytes,
        size: u64,
        part: &mut Range<u64>,
        most: usize,
    ) -> Result<Result<Bytes, Damaged>, Full> {
        match self {
            Self::OnePiece(place) => {
                let mut begun = Inflating::new(packed, size);
                let next = begun.next(part, most);
                if next.is_ok() && !part.is_empty() {
                    let place = Permit { places: place.places.clone(), client: place.client, number: None };
                    *self = Self::Permit(place.keeping(begun));
                }
                Ok(next)
            }
            Self::Permit(place) => {
                let mut begun = place.take()?.unwrap_or_else(|| Inflating::new(packed, size).into());
                let was = begun.inflate.left();
                let next = begun.next(part, most);
                let moved = begun.inflate.left() < was;
                place.leave(begun, moved);
                Ok(next)
            }
        }
    }
}

impl Permit {
    /// What was begun here, if it was not taken away meanwhile.
    fn take(&mut self) -> Result<Option<Box<Inflating>>, Full> {
        let mut table = self.places.table();
        if let Some(taken) = self.number.and_then(|number| table.taken.get_mut(&number)) {
            return Ok(taken.begun.take());
        }
        let now = Instant::now();
        if let Some(victim) = self.places.victim(&table, self.client, now)? {
            table.give_up(victim);
        }
        self.number = Some(table.take(self.client, now));
        Ok(None)
    }

    /// The same with what was begun, if a place is free now; else it is inflated again once one is.
    fn keeping(mut self, begun: Inflating) -> Self {
        if self.take().is_ok() {
            self.leave(begun.into(), true);
        }
        self
    }

    fn leave(&self, begun: Box<Inflating>, moved: bool) {
        let mut table = self.places.table();
        if let Some(taken) = self.number.and_then(|number| table.taken.get_mut(&number)) {
            taken.begun = Some(begun);
            if moved {
                taken.moved = Instant::now();
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.places.table().give_up(number);
        }
    }
}

impl Inflating {
    fn new(packed: &Bytes, size: u64) -> Self {
        Self { inflate: Inflate::new(packed.clone(), size), held: Bytes::new(), at: 0 }
    }

    fn next(&mut self, part: &mut Range<u64>, most: usize) -> Result<Bytes, Damaged> {
        if self.held.is_empty() {
            self.held = self.inflate.piece().ok_or(Damaged)??.into();
        }
        let before = part.start.saturating_sub(self.at).min(self.held.len() as u64);
        self.held.advance(before as usize);
        self.at += before;
        let length = part.end.saturating_sub(self.at).min(self.held.len() as u64).min(most as u64);
        let piece = self.held.split_to(length as usize);
        self.at += length;
        part.start = self.at.max(part.start);
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const SIZE: u64 = 10 * PIECE as u64;

    fn packed() -> Bytes {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        let content: Vec<u8> = (0..SIZE).map(|at| (at / 1000) as u8).collect();
        encoder.write_all(&content).unwrap();
        encoder.finish().unwrap().into()
    }

    fn places(most: usize, most_of_client: usize) -> Arc<Inflaters> {
        Inflaters::new(&Bounds { inflated: most, inflated_per_address: most_of_client, ..Bounds::default() })
    }

    /// The content of one response.
    struct Response {
        packed: Bytes,
        room: Room,
        part: Range<u64>,
    }

    impl Response {
        fn of(places: &Arc<Inflaters>, client: u8) -> Result<Self, Full> {
            let room = InflateShare { places, client: IpAddr::from([192, 0, 2, client]) }.room(SIZE)?;
            Ok(Self { packed: packed(), room, part: 0..SIZE })
        }

        fn take(&mut self, most: usize) -> Result<usize, Full> {
            let start = self.part.start;
            loop {
                let next = self.room.next(&self.packed, SIZE, &mut self.part, most)?.unwrap();
                let expected = (start..).take(next.len()).map(|at| (at / 1000) as u8);
                assert!(next.iter().copied().eq(expected), "at {start}");
                if !next.is_empty() {
                    return Ok(next.len());
                }
            }
        }
    }

    fn taken(places: &Inflaters) -> usize {
        places.table().taken.len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_taken_with_the_first_piece_and_given_up_with_the_response() {
        let places = places(2, 2);
        let mut one = Response::of(&places, 1).unwrap();
        assert_eq!(taken(&places), 0);
        assert_eq!(one.take(10), Ok(10));
        assert_eq!(taken(&places), 1);
        drop(one);
        assert_eq!((taken(&places), places.table().of_client.len()), (0, 0));
        assert!(matches!(
            InflateShare { places: &places, client: [1, 2, 3, 4].into() }.room(PIECE as u64),
            Ok(Room::OnePiece(_))
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn what_fits_one_piece_is_inflated_again_for_no_small_window() {
        let small = PIECE as u64;
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vec![7; PIECE]).unwrap();
        let packed = Bytes::from(encoder.finish().unwrap());
        let places = places(1, 1);
        let room =
            |client| InflateShare { places: &places, client: IpAddr::from([192, 0, 2, client]) }.room(small).unwrap();
        let mut whole = room(1);
        let mut part = 0..small;
        assert_eq!(whole.next(&packed, small, &mut part, PIECE).unwrap().unwrap().len(), PIECE);
        assert_eq!(taken(&places), 0, "all of it was taken at once");

        let mut trickle = room(1);
        let mut part = 0..small;
        for at in 0..5 {
            assert_eq!(trickle.next(&packed, small, &mut part, 1).unwrap().unwrap(), &[7][..], "at {at}");
            assert_eq!(taken(&places), 1, "it is kept");
        }
        // Another begins without a place, and waits for one before it costs the piece again.
        let mut second = room(2);
        let mut rest = 0..small;
        assert_eq!(second.next(&packed, small, &mut rest, 1).unwrap().unwrap(), &[7][..]);
        assert_eq!(second.next(&packed, small, &mut rest, 1), Err(Full));
        tokio::time::advance(IDLE).await;
        assert_eq!(second.next(&packed, small, &mut rest, PIECE).unwrap().unwrap().len(), PIECE - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn places_of_those_who_take_nothing_are_anybodys_and_nobody_loses_a_byte() {
        let places = places(3, 2);
        let mut slow: Vec<_> = [1, 1, 2].map(|client| Response::of(&places, client).unwrap()).into();
        slow.iter_mut().for_each(|response| assert_eq!(response.take(1), Ok(1)));
        assert!(Response::of(&places, 1).is_err(), "a client that is at its bound");
        let mut other = Response::of(&places, 3).expect("whoever has most gives one");
        assert_eq!(other.take(usize::MAX), Ok(PIECE));
        let mut late = Response::of(&places, 4);
        assert!(late.is_err(), "each has one, and none was idle yet");
        tokio::time::advance(IDLE).await;
        late = Response::of(&places, 4);
        assert_eq!(late.map(|mut late| late.take(10)), Ok(Ok(10)));
        for response in &mut slow {
            tokio::time::advance(IDLE).await;
            assert_eq!(response.take(usize::MAX).map(|length| length > 0), Ok(true), "it goes on where it was");
        }
        assert_eq!(taken(&places), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_moves_bytes_keeps_its_place_and_a_trickle_is_no_movement() {
        let places = places(2, 1);
        let mut reader = Response::of(&places, 1).unwrap();
        let mut trickle = Response::of(&places, 2).unwrap();
        assert_eq!((reader.take(PIECE), trickle.take(1)), (Ok(PIECE), Ok(1)));
        for _ in 0..3 {
            tokio::time::advance(IDLE / 2).await;
            assert_eq!((reader.take(PIECE), trickle.take(1)), (Ok(PIECE), Ok(1)));
        }
        let mut other = Response::of(&places, 3).unwrap();
        assert_eq!(other.take(PIECE), Ok(PIECE));
        assert!(Response::of(&places, 4).is_err());
        assert_eq!(trickle.take(1), Err(Full));
        assert_eq!(reader.take(PIECE), Ok(PIECE));
    }
}
