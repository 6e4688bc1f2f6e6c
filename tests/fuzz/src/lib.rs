//! Whatever comes from outside, in any form: nothing panics, and what can be said twice is said the same way.
//!
//! Each target takes bytes, makes of them what it needs and checks what must hold for all of it. Two things run them: a
//! test, on the seeds in `seeds/` and on bytes drawn from a seed that is printed (`make test`), and libFuzzer, which looks
//! for bytes that reach new code (`make fuzz`, `libfuzzer/`). What either finds becomes a seed.
//!
//! - [`targets`](mod@targets): the targets
//! - [`objects`](mod@objects): Istio objects drawn from bytes, mostly sound, with a fault here and there
//! - [`requests`](mod@requests): request heads drawn from bytes, from an alphabet that rules have in common
//! - [`bytes`](mod@bytes): bytes for those who have none: from a seed, and by changing others
//! - [`growth`](mod@growth): inputs of size n, for comparing the time of n and of 8 n
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this crate is tests: a broken assumption is a finding"
)]

pub mod bytes;
pub mod growth;
pub mod objects;
pub mod requests;
pub mod targets;

pub use targets::TARGETS;
