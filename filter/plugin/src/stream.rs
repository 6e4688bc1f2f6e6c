//! The stream context: one request, its decision, its response.

use crate::budgets::Budgets;
use crate::guards::Guards;
use crate::hostcalls::{self, HeaderMap};
use crate::metrics::{self, Counter};
use crate::pairs::Pair;
use crate::{context_store, pairs, random, switch};
use istio_config::filter_config::{CLUSTER_HEADER, PROFILE_HEADER};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use std::rc::Rc;
use traffic_policy::breaker::{Admission, Guard, Watch};
use traffic_policy::{
    Abort, Decision, Draw, Edit, Fact, Fault, Forward, ORIGINAL_HOST_HEADER, ORIGINAL_PATH_HEADER, Policy, RequestHead,
    ResponseRule,
};

pub(crate) struct Stream {
    policy: Rc<Policy>,
    budgets: Rc<Budgets>,
    guards: Rc<Guards>,
    /// What the response phase needs to know of the request.
    response: Option<ResponseRule>,
    /// Who pays if another version was asked.
    budget: Option<u32>,
    /// What the answer counts for, and when the request came, where that matters.
    watch: Option<(Watch, Option<u64>)>,
}

impl Stream {
    pub(crate) fn new(policy: Rc<Policy>, budgets: Rc<Budgets>, guards: Rc<Guards>) -> Self {
        Self { policy, budgets, guards, response: None, budget: None, watch: None }
    }
}

/// Chance and properties, from the host, and what is known from the requests before.
struct Surroundings<'s>(&'s Budgets, &'s Guards);

impl Draw for Surroundings<'_> {
    fn draw(&mut self) -> u64 {
        random::draw()
    }

    fn falls_back(&mut self, budget: u32) -> bool {
        self.0.request(budget)
    }

    fn admits(&mut self, guard: u32, member: u32) -> Admission {
        self.1.admits(guard, member)
    }

    fn fact(&mut self, fact: Fact) -> Option<Vec<u8>> {
        let path: &[&str] = match fact {
            Fact::Protocol => &["request", "protocol"],
            Fact::RemoteAddress => &["source", "address"],
            Fact::LocalAddress => &["destination", "address"],
        };
        hostcalls::property(path)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let encoded = hostcalls::header_pairs(HeaderMap::Request);
        let pairs = pairs::read(&encoded);
        let request = RequestHead::new(&pairs);
        if switch::turn(&self.policy, &self.guards, &request) {
            return Action::Pause;
        }
        let held = context_store::meet(&self.policy, &request);
        let context = held.as_ref().and_then(|held| held.context(&self.policy));
        let (decision, restored) =
            self.policy.decide_in(context.as_ref(), &request, &mut Surroundings(&self.budgets, &self.guards));
        if !restored.is_empty() {
            metrics::increment(Counter::PropagateRestored);
            apply(HeaderMap::Request, &restored);
        }
        match decision {
            Decision::Forward(forward) => {
                if let Some(choice) = forward.choice {
                    metrics::increment(Counter::of_choice(choice));
                }
                write(&request, &forward);
                self.budget = forward.budget;
                self.watch = forward.watch.map(|watch| {
                    let limit = guard(&self.policy, watch).and_then(|guard| guard.failures.slower_than_ms);
                    (watch, limit.map(|_| hostcalls::now_ms()))
                });
                self.response = forward.response;
                Action::Continue
            }
            Decision::Reply(reply) => {
                let headers: Vec<Pair<'_>> =
                    reply.headers.iter().map(|(name, value)| (name.as_bytes(), &**value)).collect();
                hostcalls::send_local_response(reply.status, reply.details, &reply.body, &pairs::write(&headers));
                self.response = reply.response;
                Action::Pause
            }
            Decision::Pass => {
                // Nobody but the filter may speak to the profile routes.
                for name in request.own_names() {
                    hostcalls::remove_header(HeaderMap::Request, name);
                }
                Action::Continue
            }
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let asked_again = self.budget.take().map_or(0, |budget| {
            let times = attempts().saturating_sub(1);
            self.budgets.spend(budget, times);
            times
        });
        if let Some((watch, begun)) = self.watch.take()
            && let Some(guard) = guard(&self.policy, watch)
        {
            let took_ms = begun.map(|begun| hostcalls::now_ms().saturating_sub(begun));
            self.guards.answered(guard, watch, asked_again > 0, took_ms);
        }
        if let Some(rule) = &self.response {
            let encoded = if rule.needs_headers() { hostcalls::header_pairs(HeaderMap::Response) } else { Vec::new() };
            apply(HeaderMap::Response, &self.policy.response_edits(rule, &pairs::read(&encoded)));
        }
        Action::Continue
    }
}

fn guard(policy: &Policy, watch: Watch) -> Option<&Guard> {
    policy.guards().get(usize::try_from(watch.guard).ok()?)
}

/// How often the request was sent upstream.
fn attempts() -> u64 {
    let told = hostcalls::property(&["upstream", "request_attempt_count"]).unwrap_or_default();
    told.as_slice().try_into().map(u64::from_le_bytes).unwrap_or_default()
}

/// All writes together, before anything asks for the route; the cluster last, so that no edit can touch it.
fn write(request: &RequestHead<'_>, forward: &Forward<'_>) {
    for name in request.internal_names() {
        hostcalls::remove_header(HeaderMap::Request, name);
    }
    apply(HeaderMap::Request, &forward.edits);
    if let Some(authority) = forward.authority {
        if let Some(original) = authority.original(request.authority()) {
            hostcalls::set_header(HeaderMap::Request, (ORIGINAL_HOST_HEADER, original));
        }
        hostcalls::set_header(HeaderMap::Request, (b":authority", authority.name().as_bytes()));
    }
    if let Some(target) = &forward.path {
        let original = request.values(b":path").next().unwrap_or_default();
        hostcalls::set_header(HeaderMap::Request, (ORIGINAL_PATH_HEADER, original));
        hostcalls::set_header(HeaderMap::Request, (b":path", target));
    }
    let Fault { delay_ms, abort } = forward.fault;
    if let Some(delay_ms) = delay_ms {
        hostcalls::set_header(HeaderMap::Request, (b"x-envoy-fault-delay-request", delay_ms.to_string().as_bytes()));
    }
    match abort {
        Some(Abort::Http(status)) => {
            hostcalls::set_header(HeaderMap::Request, (b"x-envoy-fault-abort-request", status.to_string().as_bytes()));
        }
        Some(Abort::Grpc(status)) => {
            hostcalls::set_header(
                HeaderMap::Request,
                (b"x-envoy-fault-abort-grpc-request", status.to_string().as_bytes()),
            );
        }
        None => {}
    }
    if let Some(profile) = forward.profile {
        hostcalls::set_header(HeaderMap::Request, (PROFILE_HEADER.as_bytes(), profile.as_bytes()));
    }
    hostcalls::set_header(HeaderMap::Request, (CLUSTER_HEADER.as_bytes(), forward.cluster.as_bytes()));
}

fn apply(map: HeaderMap, edits: &[Edit<'_>]) {
    for edit in edits {
        match edit {
            Edit::Set(name, value) => hostcalls::set_header(map, (name.as_bytes(), value)),
            Edit::Add(name, value) => hostcalls::add_header(map, (name.as_bytes(), value)),
            Edit::Remove(name) => hostcalls::remove_header(map, name.as_bytes()),
        }
    }
}
