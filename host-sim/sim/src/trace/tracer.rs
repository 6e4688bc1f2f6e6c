//! Writes down what happens to one request among all.

use std::collections::BTreeMap;
use std::time::Duration;

use envoy_plan::PROFILE_HEADER;
use host_abi::HeaderMap;
use upstream::Timestamp;

use crate::engine::{Cause, Decided, Given, Over, RequestSpec, Role, Sent};
use crate::names::labels;
use crate::trace::{Edit, Step, Trace, What, attempt_end, ended, role};

/// Headers between filter and host begin so.
const INTERNAL: &str = "x-shunt-";
/// The cluster that the filter has named.
const CLUSTER: &str = "x-shunt-cluster";
/// Envoy's words for a fault.
const FAULT: &str = "x-envoy-fault-";
/// The host adds it before the filter sees the request.
const REQUEST_ID: &str = "x-request-id";

/// Watches one request.
pub(crate) struct Tracer {
    request: u64,
    begun: Option<Timestamp>,
    head: Vec<(String, String)>,
    body_bytes: usize,
    steps: Vec<Step>,
    /// What is under way: number in the trace, which attempt and of which call, by the engine's number.
    under_way: BTreeMap<u64, (u64, u32, u64)>,
    sent: u64,
    /// Calls as they are numbered here, by the engine's number.
    calls: BTreeMap<u64, u64>,
    is_given: bool,
}

impl Tracer {
    pub(crate) fn new(request: u64) -> Self {
        Self {
            request,
            begun: None,
            head: Vec::new(),
            body_bytes: 0,
            steps: Vec::new(),
            under_way: BTreeMap::new(),
            sent: 0,
            calls: BTreeMap::new(),
            is_given: false,
        }
    }

    /// Nothing more will happen to it.
    pub(crate) fn is_over(&self) -> bool {
        self.is_given && self.under_way.is_empty()
    }

    /// A request comes.
    pub(crate) fn begun(&mut self, request: u64, spec: &RequestSpec, now: Timestamp) {
        if request == self.request {
            (self.begun, self.head, self.body_bytes) = (Some(now), pairs(&spec.head), spec.body.len());
        }
    }

    pub(crate) fn decided(&mut self, decided: &Decided<'_>) {
        let Some(call) = self.call(decided.cause) else { return };
        let head = pairs(decided.headers);
        let of = |name: &str| head.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
        // It came with the request, as far as the filter is concerned.
        if call == 0
            && let Some(id) = of(REQUEST_ID).filter(|_| !self.head.iter().any(|(name, _)| name == REQUEST_ID))
        {
            self.head.push((REQUEST_ID.to_owned(), id));
        }
        let [method, authority, path] = [":method", ":authority", ":path"].map(|name| of(name).unwrap_or_default());
        let what = What::Decided {
            target: format!("{method} {authority}{path}"),
            cluster: of(CLUSTER),
            profile: of(PROFILE_HEADER),
            faults: head.iter().filter(|(name, _)| name.starts_with(FAULT)).cloned().collect(),
            edits: if call == 0 { edits(&self.head, &head) } else { Vec::new() },
        };
        self.step(decided.at, call, what);
    }

    pub(crate) fn sent(&mut self, sent: &Sent<'_>) {
        let Some(call) = self.call(sent.cause).filter(|_| sent.role != Role::Callout) else { return };
        self.sent += 1;
        self.under_way.insert(sent.serial, (self.sent, sent.number, call));
        let what = What::Sent {
            sent: self.sent,
            role: role(sent.role).to_owned(),
            attempt: sent.number,
            cluster: sent.endpoint.cluster().to_owned(),
            endpoint: format!("{}:{}", sent.endpoint.address(), sent.endpoint.port()),
            labels: labels(sent.endpoint),
        };
        self.step(sent.at, call, what);
    }

    pub(crate) fn over(&mut self, over: &Over<'_>) {
        let Some((sent, attempt, call)) = self.under_way.remove(&over.serial) else { return };
        let what = What::Over {
            sent,
            role: role(over.role).to_owned(),
            attempt,
            end: attempt_end(over.end),
            took_us: micros(over.took),
        };
        self.step(over.at, call, what);
    }

    pub(crate) fn given(&mut self, given: &Given<'_>) {
        let Some(call) = self.call(given.cause) else { return };
        self.is_given |= call == 0;
        let what = What::Given {
            end: ended(given.ended).to_owned(),
            status: given.status,
            details: given.details.to_owned(),
            attempts: given.attempts,
            body_bytes: given.body.len(),
        };
        self.step(given.at, call, what);
    }

    /// How a call is numbered here, 0 for the request itself; `None`: it belongs to another.
    fn call(&mut self, cause: Cause) -> Option<u64> {
        if cause.request != self.request {
            return None;
        }
        let next = u64::try_from(self.calls.len()).unwrap_or(u64::MAX).saturating_add(1);
        Some(if cause.call == 0 { 0 } else { *self.calls.entry(cause.call).or_insert(next) })
    }

    fn step(&mut self, at: Timestamp, call: u64, what: What) {
        let at_us = self.begun.map_or(0, |begun| micros(at.since(begun)));
        self.steps.push(Step { at_us, call, what });
    }

    /// The whole story; `None` where there was no such request.
    pub(crate) fn finish(self, scenario: &str, seed: u64) -> Option<Trace> {
        let Self { request, begun, head, body_bytes, steps, .. } = self;
        let begun_us = begun?.as_nanos() / 1_000;
        Some(Trace {
            scenario: scenario.to_owned(),
            seed,
            request,
            begun_us,
            headers: head,
            body_bytes,
            rule: None,
            steps,
        })
    }
}

fn pairs(head: &HeaderMap) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    head.iter().map(|(name, value)| (text(name), text(value))).collect()
}

/// What is different, by name; the words between filter and host are no edits.
fn edits(before: &[(String, String)], after: &[(String, String)]) -> Vec<Edit> {
    let joined = |head: &[(String, String)], name: &str| {
        let values: Vec<&str> = head.iter().filter(|(own, _)| own == name).map(|(_, value)| &**value).collect();
        (!values.is_empty()).then(|| values.join(", "))
    };
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in before.iter().chain(after) {
        if !names.contains(&name) && !name.starts_with(INTERNAL) && !name.starts_with(FAULT) {
            names.push(name);
        }
    }
    let edits = names.into_iter().map(|name| Edit {
        header: name.clone(),
        before: joined(before, name),
        after: joined(after, name),
    });
    edits.filter(|edit| edit.before != edit.after).collect()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
