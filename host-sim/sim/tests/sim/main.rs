//! The simulator with the real filter: single requests, whole scenarios, and what it says when something is wrong. Where
//! the filter does not do what must be played (it never waits yet), small guests do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

mod calls;
mod capacity;
mod expectations;
mod gates;
mod guests;
mod loads;
mod requests;
mod runs;
mod support;
mod timeline;
mod traces;
