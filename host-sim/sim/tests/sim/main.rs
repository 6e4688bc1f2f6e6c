//! The simulator with the real filter: single requests, whole scenarios, and what it says when something is wrong.

mod requests;
mod runs;
mod support;
