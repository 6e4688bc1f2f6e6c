//! The target `request_head` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shunt_fuzz::targets::request_head(data));
