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
mod names;
mod portable;
mod ramp;
mod report;
mod run;
mod scenario;
mod simulator;
mod span;
mod trace;

pub use behaviour::{Answer, Behaviour, Call, Outcome, Workplace};
pub use engine::{AttemptEnd, Cause, Configuration, Ended, Given, RequestSpec, Role, Rules, Sent, Workload};
pub use expect::{Expectation, Judgement, Percent, Quantity, Seen};
pub use ramp::{Gate, Gates, RampStep, Ramping};
pub use report::{
    Bar, Calls, Comparison, Edge, Mirror, Report, RuleShare, Spread, Timeouts, Times, Totals, UsersMet, Verdict,
    Version, Warning, html,
};
pub use run::{ConfiguredShare, Control, Later, Progress, RunError, Setup, run, trace};
pub use scenario::{
    Break, CallSpec, Capacity, ClosedLoad, Count, ExpectSpec, Fault, Files, Latency, Load, Measure, Metadata, Moment,
    Normalization, OfSpec, OnFailure, OpenArrivals, OpenLoad, OutcomeSpec, Percentile, RampPoint, Rate, RequestKind,
    Samples, Scale, Scenario, ScenarioError, ServiceSpec, Share, Spec, Statuses, Text, TraceLoad, Users, VersionSpec,
    When, Which, scenario_schema,
};
pub use simulator::{AttemptRecord, Exchange, ResponseRecord, Simulator};
pub use span::Span;
pub use trace::{Edit, Step, Trace, What};
