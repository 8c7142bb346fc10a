//! One file in one coding: what is sent, and what tells it from others (RFC 9110 §8).

use std::{collections::VecDeque, ops::Range};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::{
    inflated::{Inflated, Run},
    inflating::InflateShare,
};
use crate::{
    body::{Body, Segments},
    semantics::{
        coding::Wanted,
        conditional::{self, Validators},
        field,
    },
    site::{Coding, EntityTag, Entry, Method, Site},
};

/// A file in the coding that a client wants most.
pub(crate) struct Representation<'a> {
    site: &'a Site,
    /// The file that was asked for.
    entry: &'a Entry,
    source: Storage,
    tag: EntityTag,
    coding: Option<&'static str>,
    varies: bool,
}

/// Where the bytes come from.
enum Storage {
    /// They lie in the package.
    Lying(Segments),
    /// They lie there deflated, and the client cannot inflate them.
    Deflated { packed: Bytes, size: u64 },
}

/// gzip's header (RFC 1952 §2.3): deflate, no name, no time, unknown system.
const GZIP_HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Bytes of the header and of the trailer behind the stream.
const GZIP_FRAMING: u64 = GZIP_HEADER.len() as u64 + 8;

impl<'a> Representation<'a> {
    /// The representation of `entry` for these request fields; `None` if the package does not hold what it declares.
    pub(crate) fn choose(site: &'a Site, entry: &'a Entry, headers: &HeaderMap) -> Option<Self> {
        let codings = Coding::ALL.map(|coding| site.coded(entry, coding));
        let deflated = entry.method == Method::Deflated && Self::is_smaller_as_gzip(entry);
        let varies = deflated || codings.iter().any(Option::is_some);
        if !varies {
            return Self::identity(site, entry, varies);
        }
        let wanted = Wanted::of(headers);
        let [brotli, zstandard, gzip] = codings;
        let as_gzip = gzip.is_some() || (deflated && entry.size <= u64::from(u32::MAX));
        // Wanted alike, the smallest comes first. If nothing is acceptable, identity is better than 406 (§12.5.3).
        let weights = [
            (wanted.brotli, brotli.is_some()),
            (wanted.zstandard, zstandard.is_some()),
            (wanted.gzip, as_gzip),
            (wanted.identity, true),
        ];
        let best = weights.iter().filter(|(_, is)| *is).map(|(weight, _)| *weight).max()?;
        let chosen = weights.iter().position(|(weight, is)| *is && *weight == best);
        match (chosen, gzip) {
            (Some(0), _) if best > 0 => Self::coded(site, entry, brotli?, "br"),
            (Some(1), _) if best > 0 => Self::coded(site, entry, zstandard?, "zstd"),
            (Some(2), Some(gzip)) if best > 0 => Self::coded(site, entry, gzip, "gzip"),
            (Some(2), None) if best > 0 => Self::reframed(site, entry),
            _ => Self::identity(site, entry, varies),
        }
    }

    /// Whether a deflate stream, with what makes gzip of it, is shorter than the file: no client is sent more bytes than the file has.
    fn is_smaller_as_gzip(entry: &Entry) -> bool {
        entry.packed.saturating_add(GZIP_FRAMING) < entry.size
    }

    /// The file as it is.
    fn identity(site: &'a Site, entry: &'a Entry, varies: bool) -> Option<Self> {
        let packed = site.packed(entry)?;
        let source = match entry.method {
            Method::Stored => Storage::Lying(packed.into()),
            Method::Deflated => Storage::Deflated { packed, size: entry.size },
        };
        Some(Self { site, entry, source, tag: entry.identity_tag(), coding: None, varies })
    }

    /// A file that lies beside it in a coding, whose content is the coded form.
    fn coded(site: &'a Site, entry: &'a Entry, coded: &'a Entry, coding: &'static str) -> Option<Self> {
        Some(Self { entry, coding: Some(coding), ..Self::identity(site, coded, true)? })
    }

    /// The deflate stream as it lies, between a gzip header and trailer.
    fn reframed(site: &'a Site, entry: &'a Entry) -> Option<Self> {
        let mut trailer = [0; 8];
        trailer[..4].copy_from_slice(&entry.crc.to_le_bytes());
        // The size modulo 2^32 (RFC 1952 §2.3.1).
        trailer[4..].copy_from_slice(&(entry.size as u32).to_le_bytes());
        let segments =
            Segments::new(Bytes::from_static(GZIP_HEADER), site.packed(entry)?, Bytes::copy_from_slice(&trailer));
        let source = Storage::Lying(segments);
        Some(Self { site, entry, source, tag: entry.gzip_tag(), coding: Some("gzip"), varies: true })
    }

    /// Its content type, whatever the coding.
    pub(crate) fn content_type(&self) -> &'a HeaderValue {
        self.site.content_type(self.entry)
    }

    /// The coding's name, unless it is identity.
    pub(crate) fn coding(&self) -> Option<&'static str> {
        self.coding
    }

    /// Whether other clients may get another coding.
    pub(crate) fn varies(&self) -> bool {
        self.varies
    }

    /// Its length in bytes.
    pub(crate) fn length(&self) -> u64 {
        match &self.source {
            Storage::Lying(segments) => segments.length(),
            Storage::Deflated { size, .. } => *size,
        }
    }

    /// Whether its parts may be sent in any order at no more cost than their own bytes.
    pub(crate) fn can_seek(&self) -> bool {
        matches!(self.source, Storage::Lying(_))
    }

    /// What tells it from other representations.
    pub(crate) fn validators(&self) -> Validators {
        // What is written there is visible ASCII, and short.
        let tag = field::written(&self.tag).unwrap_or(HeaderValue::from_static("\"\""));
        Validators { tag, modified: self.site.modified(self.entry) }
    }

    /// When it was last changed, where that is known.
    pub(crate) fn last_modified(&self) -> Option<HeaderValue> {
        conditional::http_date(self.site.modified(self.entry)?)
    }

    /// All of it; `None` if too much is inflated already.
    pub(crate) fn body(&self, inflating: InflateShare<'_>) -> Option<Body> {
        match &self.source {
            Storage::Lying(segments) => Some(Body::lying(segments.clone())),
            Storage::Deflated { size, .. } => self.part(0..*size, inflating),
        }
    }

    /// A part of it, which must lie inside; `None` if too much is inflated already.
    pub(crate) fn part(&self, part: Range<u64>, inflating: InflateShare<'_>) -> Option<Body> {
        self.parts([Run::Part(part)].into(), inflating)
    }

    /// Parts of it, which must lie inside and behind each other, and what stands between them; `None` if too much is inflated
    /// already.
    pub(crate) fn parts(&self, runs: VecDeque<Run>, inflating: InflateShare<'_>) -> Option<Body> {
        match &self.source {
            Storage::Lying(segments) => Some(Body::many(runs.into_iter().map(|run| run.of(segments)).collect())),
            Storage::Deflated { packed, size } => {
                let inflated = Inflated::new(packed.clone(), *size, inflating.room(*size).ok()?, runs);
                let length = inflated.length();
                Some(Body::sourced(inflated, Some(length)))
            }
        }
    }
}
