//! Field blocks (RFC 7541).
//!
//! Written here, as `h2` keeps its own to itself and no other crate is kept well: one that decodes into what a request is
//! made of, and copies a field that a client repeats no more than once.

mod decoder;
mod encoder;
mod field;
mod huffman;
mod table;

pub(super) use self::{
    decoder::{Decoder, Sink},
    encoder::Encoder,
    field::Field,
};

/// A field block that cannot be decoded; nothing that follows on its connection can (RFC 9113 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MalformedBlock;

#[cfg(test)]
pub(super) use self::field::FieldName;

/// Why a field block is not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusedBlock {
    /// It cannot be.
    Malformed,
    /// It unpacks to far more than a request is.
    Bomb,
}

impl From<MalformedBlock> for RefusedBlock {
    fn from(_: MalformedBlock) -> Self {
        RefusedBlock::Malformed
    }
}

/// The size of a table that has not been set (RFC 9113 §6.5.2), and the most that is kept for either side.
const TABLE: usize = 4096;
/// What an entry counts beside its name and value (RFC 7541 §4.1).
const OVERHEAD: usize = 32;
