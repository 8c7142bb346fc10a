//! See `spothost_server::fuzzing::requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spothost_server::fuzzing::requests(data));
