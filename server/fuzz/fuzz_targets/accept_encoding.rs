//! See `spothost_server::fuzzing::accept_encoding`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spothost_server::fuzzing::accept_encoding(data));
