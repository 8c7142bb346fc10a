//! See `spothost_server::fuzzing::field_blocks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spothost_server::fuzzing::field_blocks(data));
