//! A deterministic simulator: the compiled filter under load and failures, in virtual time.
//!
//! Whoever changes traffic rules wants to know what they do before production does. Here the real filter runs in
//! [`host_abi`], its decisions are carried out by [`upstream`], and everything around them is made up: clock, chance,
//! clients and services. The same seed gives the same bytes, on every machine: events are ordered by (time, number),
//! every source of chance has its own stream, and whatever decides is a whole number.
//!
//! Two ways in, one engine:
//!
//! - [`run()`] plays a [`Scenario`] and gives a [`Report`]; [`Comparison`] puts several side by side.
//! - [`Simulator`] sends single requests to upstreams that a test scripts, and shows all that happened to each.
//!
//! This crate opens no file, knows no real time and no Istio: the filter is opaque, and what it was told to do comes in
//! from outside where a report needs it ([`ConfiguredShare`]).

mod behaviour;
mod chance;
mod check;
mod engine;
mod expect;
mod ramp;
mod report;
mod run;
mod scenario;
mod simulator;
mod span;
mod trace;

pub use behaviour::{Answer, Behaviour, Outcome};
pub use engine::{AttemptEnd, Ended, Given, RequestSpec, Role, Sent};
pub use expect::{Expectation, Judgement, Percent, Quantity, Seen};
pub use ramp::{Gate, Gates, RampStep, Ramping};
pub use report::{
    Bar, Comparison, Mirror, Report, RuleShare, Spread, Timeouts, Times, Totals, Verdict, Version, Warning, html,
};
pub use run::{ConfiguredShare, Control, Progress, RunError, Setup, run, trace};
pub use scenario::{
    ClosedLoad, ExpectSpec, Fault, Latency, Load, Measure, Metadata, Normalization, OfSpec, OpenArrivals, OpenLoad,
    OutcomeSpec, Percentile, Rate, RequestKind, Scenario, ScenarioError, ServiceSpec, Spec, Statuses, VersionSpec,
    scenario_schema,
};
pub use simulator::{AttemptRecord, Exchange, ResponseRecord, Simulator};
pub use span::Span;
pub use trace::{Edit, Step, Trace, What};
