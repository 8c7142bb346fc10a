//! The process that a package brings.

mod tree;

pub use tree::{Trees, UnpackError, unpack_site};
