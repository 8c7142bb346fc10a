//! The package's bytes, mapped.
//!
//! This is the one place of the crate that needs `unsafe`: a mapping is sound only as long as no process changes the file
//! underneath. A package is immutable by contract (see [`Site::open`](crate::Site::open)): it is replaced by renaming a new
//! file over its name, which leaves the mapped one as it was, and never written in place.
#![allow(unsafe_code)]

use std::{fs::File, io};

use bytes::Bytes;
use memmap2::Mmap;

/// Maps the whole of `file`, read only. Clones and slices of the returned bytes share the mapping.
///
/// # Errors
/// What the operating system says; an empty file cannot be mapped and yields empty bytes instead.
pub(super) fn map(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the mapping is private and read only, and the file is not changed while it lives: see the module's text.
    let map = unsafe { Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}
