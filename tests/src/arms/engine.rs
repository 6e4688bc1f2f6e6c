//! The engine as native code: decided by `traffic-policy`, carried out by `upstream` in virtual time, no Wasm anywhere.
//!
//! What the filter's shell does between the two (edits, removal of forged headers) is done here once more, in a few
//! lines; that the shell does the same is what the other arms show.

use super::{Arm, Running, plain, received};
use crate::case::{Behaviour, Case, Request};
use crate::chance::SplitMix;
use crate::escapes;
use crate::fleet::{self, DOWN, Fleet, Scripts};
use crate::observed::{Arrival, Reply};
use crate::servers::Servers;
use envoy_plan::{CLUSTER_HEADER, Caller, PROFILE_HEADER, PathNormalization, Plan};
use host_abi::HeaderMap;
use istio_config::{Config, Diagnostics, FilterConfig, yaml};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use traffic_policy::breaker::{Admission, Watcher};
use traffic_policy::explain::Explanation;
use traffic_policy::{Abort, Decision, Draw, Edit, Fact, Forward, HeaderPair, Policy, RequestHead};
use upstream::request_head::{ATTEMPT_COUNT_HEADER, reaches_upstream};
use upstream::{
    Answer, Ask, Attempt, Begun, Event, Exchange, Failure, Fault, LocalReply, Source, Step, Timestamp, Upstreams,
    arrival, client_address, referer,
};

/// The arm.
pub struct Engine;

impl Arm for Engine {
    fn name(&self) -> &'static str {
        "engine"
    }

    fn parallel(&self) -> usize {
        1
    }

    fn slack(&self) -> Duration {
        Duration::ZERO
    }

    fn start(&self, case: &Case) -> Result<Box<dyn Running>, String> {
        Self::at(Fleet::imaginary(), case)
    }

    fn start_on(&self, servers: &Arc<Servers>, case: &Case) -> Result<Box<dyn Running>, String> {
        Self::at(servers.fleet.clone(), case)
    }
}

impl Engine {
    /// The same with endpoints at these addresses, by which a hash chooses among them.
    ///
    /// # Errors
    ///
    /// As [`Arm::start`].
    pub fn at(fleet: Fleet, case: &Case) -> Result<Box<dyn Running>, String> {
        let (plan, filter) = deployment(&fleet, case)?;
        let mut diagnostics = Diagnostics::default();
        let policy = Policy::compile(&filter, &mut diagnostics).ok_or_else(|| findings(&diagnostics))?;
        Ok(Box::new(World {
            watchers: policy.guards().iter().map(|guard| Watcher::new(guard, 0)).collect(),
            policy,
            upstreams: Upstreams::new(plan, Timestamp::default()),
            normalization: case.normalization.0,
            fleet,
            scripts: Scripts::new(case),
            arrivals: Vec::new(),
            now: Timestamp::from_nanos(1),
            chance: SplitMix::new(0x5eed),
        }))
    }
}

/// Plan and filter configuration as the command makes them.
pub(super) fn deployment(fleet: &Fleet, case: &Case) -> Result<(Arc<Plan>, FilterConfig), String> {
    let (mut config, mut sources, mut diagnostics) = <(Config, yaml::Sources, Diagnostics)>::default();
    for (file, text) in fleet.manifests(case) {
        yaml::read(file, &text, &mut config, &mut sources, &mut diagnostics);
    }
    let caller = Caller { locality: case.locality.as_str().into(), ..Caller::default() };
    let (mut plan, bindings) = Plan::build_for(&config, &caller, None, &mut diagnostics);
    if diagnostics.has_errors() {
        return Err(findings(&diagnostics));
    }
    let outbound = case.outbound.map(|mode| plan.let_out(mode));
    let filter =
        FilterConfig { config, bindings, outbound, namespace: "default".to_owned(), ..FilterConfig::default() };
    Ok((Arc::new(plan), filter))
}

fn findings(diagnostics: &Diagnostics) -> String {
    diagnostics.iter().map(|finding| format!("\n    {finding}")).collect()
}

/// What the filter asks its host for.
struct Drawn<'a> {
    chance: &'a mut SplitMix,
    protocol: &'static str,
    client: SocketAddr,
    watchers: &'a mut [Watcher],
}

impl Draw for Drawn<'_> {
    fn draw(&mut self) -> u64 {
        self.chance.draw()
    }

    fn falls_back(&mut self, _: u32) -> bool {
        true
    }

    fn admits(&mut self, guard: u32, member: u32) -> Admission {
        let watcher = usize::try_from(guard).ok().and_then(|guard| self.watchers.get_mut(guard));
        watcher.map_or(Admission::Yes, |watcher| watcher.admits(member, || 0))
    }

    fn fact(&mut self, fact: Fact) -> Option<Vec<u8>> {
        match fact {
            Fact::Protocol => Some(self.protocol.into()),
            Fact::RemoteAddress => Some(self.client.to_string().into()),
            Fact::LocalAddress => None,
        }
    }
}

struct World {
    /// Of the versions that somebody watches. Time stands still here, so nobody goes out but by a switch.
    watchers: Vec<Watcher>,
    policy: Policy,
    upstreams: Upstreams,
    normalization: PathNormalization,
    fleet: Fleet,
    scripts: Scripts,
    arrivals: Vec<Arrival>,
    now: Timestamp,
    chance: SplitMix,
}

/// A response on its way to the client.
struct Response {
    head: HeaderMap,
    body: Vec<u8>,
}

impl Running for World {
    fn send(&mut self, request: &Request) -> Result<Reply, String> {
        let begun = self.now;
        let line = &request.send;
        let (method, target) = (line.method.as_bytes(), escapes::bytes(&line.target));
        let admitted = match request.http2 || arrival::is_method_of_http1(method) {
            true => arrival::admit(method, line.host.as_bytes(), &target, self.normalization),
            false => Err(LocalReply::INVALID_REQUEST),
        };
        let response = match admitted {
            Ok(path) => {
                let head = self.head(request, &path);
                let protocol = if request.http2 { "HTTP/2" } else { "HTTP/1.1" };
                self.serve(&head, request.body.as_deref().unwrap_or_default(), protocol)?
            }
            Err(reply) => local(&reply, &HeaderMap::new()),
        };
        let status = response.head.get_str(":status").and_then(|status| status.parse().ok());
        Ok(Reply {
            status: status.ok_or("a response without a status")?,
            headers: plain(&response.head),
            body: response.body,
            took: self.now.since(begun),
        })
    }

    fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    fn arrivals(&mut self, _expected: usize) -> Vec<Arrival> {
        std::mem::take(&mut self.arrivals)
    }
}

impl World {
    /// The request head as a filter meets it.
    fn head(&mut self, request: &Request, path: &[u8]) -> HeaderMap {
        let line = &request.send;
        let mut head = HeaderMap::from([(":authority", line.host.as_bytes()), (":path", path)]);
        head.extend([(":method", line.method.as_str()), (":scheme", "http")]);
        head.extend(received(request).filter(|(name, _)| arrival::is_kept(name.as_bytes())));
        if request.http2 {
            let cookie = arrival::cookie(head.get_all("cookie"));
            head.remove("cookie");
            head.extend(cookie.map(|cookie| ("cookie", cookie)));
        }
        if head.get("referer").is_some_and(referer::is_removed) {
            head.remove("referer");
        }
        if head.get("x-forwarded-proto").is_none() {
            head.append("x-forwarded-proto", "http");
        }
        if head.get("x-request-id").is_none_or(<[u8]>::is_empty) {
            // As long as a UUID; nobody reads more into it.
            head.set("x-request-id", format!("{:036x}", self.chance.draw()));
        }
        head
    }

    fn serve(&mut self, head: &HeaderMap, body: &str, protocol: &'static str) -> Result<Response, String> {
        let pairs: Vec<HeaderPair<'_>> = head.iter().collect();
        let request = RequestHead::new(&pairs);
        let client = client_address(head.get("x-forwarded-for"), SocketAddr::from(([127, 0, 0, 1], 40_000)));
        let mut drawn = Drawn { chance: &mut self.chance, protocol, client, watchers: &mut self.watchers };
        let decision = self.policy.decide(&request, &mut drawn);
        explained(&decision, &self.policy.explain(&request, usize::MAX))?;
        let (mut response, rule) = match decision {
            Decision::Pass => return Err("there are no other routes to leave it to".to_owned()),
            Decision::Reply(reply) => {
                let mut local = host_abi::LocalReply::new(reply.status.into(), reply.body.into_owned(), reply.details);
                local.headers.extend(reply.headers.iter().map(|(name, value)| (name.as_bytes(), &**value)));
                let (answer, body) = local.into_response(head);
                (Response { head: answer, body: body.into() }, reply.response)
            }
            Decision::Forward(forward) => {
                let forwarded_for = head.get("x-forwarded-for");
                let head = written(head, &forward);
                let mut outside = Outside {
                    fleet: &self.fleet,
                    scripts: &mut self.scripts,
                    arrivals: &mut self.arrivals,
                    now: &mut self.now,
                    chance: &mut self.chance,
                    forwarded_for,
                    copies: Vec::new(),
                };
                (carry_out(&mut self.upstreams, &mut outside, &head, body)?, forward.response)
            }
        };
        if let Some(rule) = rule {
            let head = response.head.clone();
            let pairs: Vec<HeaderPair<'_>> = head.iter().collect();
            apply(&mut response.head, &self.policy.response_edits(&rule, &pairs));
        }
        Ok(response)
    }
}

/// What is told about a request is what was done with it: the same rule and one of the outcomes that are possible, and every
/// match block before it has a reason.
fn explained(decision: &Decision<'_>, told: &Explanation<'_>) -> Result<(), String> {
    let agrees = match decision {
        Decision::Pass => false,
        Decision::Reply(reply) => told.reply.as_ref().is_some_and(|told| told.status == reply.status),
        Decision::Forward(forward) => {
            // An abort comes before what would have been answered here; the cluster then means nothing.
            let aborted_reply = forward.fault.abort.is_some() && told.reply.is_some();
            told.rule.as_ref().is_some_and(|rule| rule.to_string() == forward.rule.to_string())
                && (aborted_reply
                    || told.destinations.iter().any(|told| {
                        let falls_back = told.fallback.as_deref() == Some(forward.cluster);
                        told.cluster == forward.version
                            && (falls_back || forward.cluster == forward.version)
                            && told.probability > 0.0
                    }))
                && (told.delay.is_some() || forward.fault.delay_ms.is_none())
                && (told.abort.is_some() || forward.fault.abort.is_none())
        }
    };
    match agrees && told.untold == 0 {
        true => Ok(()),
        false => Err(format!("the explanation tells something else: {told:?}\n  than was decided: {decision:?}")),
    }
}

/// The request head as the filter leaves it.
fn written(head: &HeaderMap, forward: &Forward<'_>) -> HeaderMap {
    let target = head.get(":path").unwrap_or_default();
    let forged = |name: &[u8]| name.starts_with(b"x-shunt-") || name.starts_with(b"x-envoy-fault-");
    let mut head: HeaderMap = head.iter().filter(|(name, _)| !forged(name)).collect();
    apply(&mut head, &forward.edits);
    if let Some(authority) = forward.authority {
        let came = head.get(":authority").unwrap_or_default().to_vec();
        if let Some(original) = authority.original(&came) {
            head.set("x-envoy-original-host", original);
        }
        head.set(":authority", authority.name());
    }
    if let Some(path) = &forward.path {
        head.set("x-envoy-original-path", target);
        head.set(":path", path);
    }
    if let Some(delay_ms) = forward.fault.delay_ms {
        head.set("x-envoy-fault-delay-request", delay_ms.to_string());
    }
    match forward.fault.abort {
        Some(Abort::Http(status)) => head.set("x-envoy-fault-abort-request", status.to_string()),
        Some(Abort::Grpc(status)) => head.set("x-envoy-fault-abort-grpc-request", status.to_string()),
        None => {}
    }
    if let Some(profile) = forward.profile {
        head.set(PROFILE_HEADER, profile);
    }
    head.set(CLUSTER_HEADER, forward.cluster);
    head
}

fn apply(head: &mut HeaderMap, edits: &[Edit<'_>]) {
    for edit in edits {
        match edit {
            Edit::Set(name, value) => head.set(name.as_bytes(), value),
            Edit::Add(name, value) => head.append(name.as_bytes(), value),
            Edit::Remove(name) => {
                head.remove(name.as_bytes());
            }
        }
    }
}

/// Everything around an exchange.
struct Outside<'a> {
    fleet: &'a Fleet,
    scripts: &'a mut Scripts,
    arrivals: &'a mut Vec<Arrival>,
    now: &'a mut Timestamp,
    chance: &'a mut SplitMix,
    /// `x-forwarded-for` as it came.
    forwarded_for: Option<&'a [u8]>,
    /// Mirrors that are under way, and when their endpoints answer. While they are, these count as busy.
    copies: Vec<(Option<Timestamp>, Exchange)>,
}

/// What an endpoint does with the attempt under way.
enum UnderWay {
    Nothing,
    Fails(Failure),
    Answers(Timestamp, Response),
}

fn carry_out(
    upstreams: &mut Upstreams,
    outside: &mut Outside<'_>,
    head: &HeaderMap,
    body: &str,
) -> Result<Response, String> {
    let fault = Fault::read(head.iter());
    *outside.now = outside.now.after(fault.delay.unwrap_or_default());
    if let Some(reply) = fault.abort {
        return Ok(local(&reply, head));
    }
    let here = [127, 0, 0, 1];
    let remote = SocketAddr::from((here, 50_000));
    let source = Source {
        headers: &|visit| head.iter().for_each(|(name, value)| visit(name, value)),
        client: client_address(outside.forwarded_for, remote).ip(),
        remote,
        local: SocketAddr::from((here, 80)),
    };
    let ask = Ask { source: Some(&source), ..Ask::read(head.iter(), true) };
    let begun = upstreams.begin(&ask, *outside.now, &mut || outside.chance.draw());
    let Begun { exchange, step, shadows } = match begun {
        Err(reply) => return Ok(local(&reply, head)),
        Ok(begun) => begun,
    };
    let (begun, waiting): (Vec<_>, Vec<_>) = shadows.into_iter().partition(|shadow| shadow.step.attempt().is_some());
    for shadow in begun {
        if let Some(attempt) = shadow.step.attempt() {
            match outside.arrive(attempt, &shadow.exchange, head, body) {
                UnderWay::Fails(_) => {}
                UnderWay::Answers(at, _) => outside.copies.push((Some(at), shadow.exchange)),
                UnderWay::Nothing => outside.copies.push((None, shadow.exchange)),
            }
        }
    }
    let response = lead(exchange, step, outside, head, body);
    // The original is over, and with it what they waited for.
    for mut shadow in waiting {
        let step = shadow.exchange.on(Event::Woken, *outside.now, &mut || outside.chance.draw());
        if let Some(attempt) = step.attempt() {
            outside.arrive(attempt, &shadow.exchange, head, body);
        }
    }
    response
}

/// Carries out a request to its end.
fn lead(
    mut exchange: Exchange,
    mut step: Step,
    outside: &mut Outside<'_>,
    head: &HeaderMap,
    body: &str,
) -> Result<Response, String> {
    let mut under_way = UnderWay::Nothing;
    loop {
        match step {
            Step::Attempt(attempt) => {
                under_way = outside.arrive(&attempt, &exchange, head, body);
                if !matches!(under_way, UnderWay::Fails(Failure::Connect | Failure::Unresolved)) {
                    exchange.on(Event::Connected, *outside.now, &mut || outside.chance.draw());
                }
            }
            Step::BackOff | Step::Queue => under_way = UnderWay::Nothing,
            Step::Continue => {}
            Step::Deliver { .. } => {
                if let UnderWay::Answers(_, mut response) = under_way {
                    exchange.set_cookies().for_each(|cookie| response.head.append("set-cookie", cookie));
                    return Ok(response);
                }
                return Err("an answer was to be delivered and there was none".to_owned());
            }
            Step::Reply(reply) => return Ok(local(&reply, head)),
            Step::Abort { details, .. } => return Err(format!("broken off: {details}")),
        }
        let limit = exchange.wake_at();
        step = match &under_way {
            UnderWay::Fails(failure) => {
                exchange.on(Event::Failed(*failure), *outside.now, &mut || outside.chance.draw())
            }
            UnderWay::Answers(at, response) if limit.is_none_or(|limit| *at < limit) => {
                outside.wait_until(*at);
                let header = |name: &str| response.head.get(name);
                let status = response.head.get_str(":status").and_then(|status| status.parse().ok());
                let answer = Answer { status: status.unwrap_or_default(), header: &header };
                exchange.on(Event::Answered(answer), *outside.now, &mut || outside.chance.draw())
            }
            UnderWay::Answers(..) | UnderWay::Nothing => {
                outside.wait_until(limit.ok_or("nobody answers, and nothing limits the time")?);
                exchange.on(Event::Woken, *outside.now, &mut || outside.chance.draw())
            }
        };
    }
}

impl Outside<'_> {
    fn wait_until(&mut self, at: Timestamp) {
        *self.now = (*self.now).max(at);
        self.copies.retain(|(answered_at, _)| answered_at.is_none_or(|answered_at| answered_at > *self.now));
    }

    /// Something is sent to an endpoint.
    fn arrive(&mut self, attempt: &Attempt, exchange: &Exchange, head: &HeaderMap, body: &str) -> UnderWay {
        let (address, port) = (attempt.endpoint.address(), attempt.endpoint.port());
        let Some(endpoint) = self.fleet.at(address, port) else { return UnderWay::Fails(Failure::Unresolved) };
        if endpoint == DOWN {
            return UnderWay::Fails(Failure::Connect);
        }
        let mut head: HeaderMap = head.iter().filter(|(name, _)| reaches_upstream(name)).collect();
        head.set(ATTEMPT_COUNT_HEADER, attempt.number.to_string());
        for (name, value) in exchange.told(*self.now) {
            head.set(name, value);
        }
        let arrival = super::arrival(endpoint, &head, body.as_bytes());
        let behaviour = self.scripts.next(&arrival);
        self.arrivals.push(arrival);
        match behaviour {
            Behaviour::Hang => UnderWay::Nothing,
            Behaviour::Close => UnderWay::Fails(Failure::Disconnected { before_request: false }),
            Behaviour::Answer(answer) => {
                let (headers, body) = fleet::written(endpoint, &answer);
                let mut head = HeaderMap::from([(":status", answer.status.to_string())]);
                head.extend(headers);
                UnderWay::Answers(self.now.after(answer.after), Response { head, body: body.into() })
            }
        }
    }
}

/// An answer that no upstream gave, to this request.
fn local(reply: &LocalReply, request: &HeaderMap) -> Response {
    let mut local = host_abi::LocalReply::new(reply.status.into(), reply.body, reply.details);
    local.headers.extend(reply.headers.iter().copied());
    local.grpc_status = reply.grpc_status.map(Into::into);
    let (head, body) = local.into_response(request);
    Response { head, body: body.into() }
}
