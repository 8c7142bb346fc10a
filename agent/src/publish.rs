//! From a folder, or a zip of one, to the package that hosts serve, and back to the one before.
//!
//! ```text
//!   folder ── entries ── archive ── parcel ──┬── site-<version>.zip        never overwritten
//!             (cache)               (judged) └── site-latest.zip           a copy of it: what hosts look for
//! ```
//!
//! A version's own object is written first and never again; then the pointer, a copy of it, is moved by a conditional
//! write. So no reader ever finds none or half of one, and of two publishers at once the newer one stays.

mod archive;
mod awaited;
mod built_package;
mod cache;
mod catalogue;
mod delivery;
mod difference;
mod doubts;
mod entry;
mod folder;
mod links;
mod pointer;
mod problem;
mod progress;
mod readiness;
mod signature;
mod single_entry;
mod unpack;

pub use self::{
    awaited::{Awaited, wait},
    built_package::{BuildOptions, BuildStats, BuiltPackage},
    catalogue::{Catalogue, PublishedPackage},
    delivery::{Delivered, Delivery},
    difference::{FileChange, Side},
    entry::Effort,
    folder::LONGEST_FILE,
    problem::{Problem, Weight},
    readiness::unready_for_applications,
    signature::Signer,
};
