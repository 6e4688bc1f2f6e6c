//! The target `trace` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shunt_fuzz::targets::trace(data));
