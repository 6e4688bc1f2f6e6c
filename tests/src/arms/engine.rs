//! The engine as native code: decided by `traffic-policy`, carried out by `upstream` in virtual time, no Wasm anywhere.
//!
//! What the filter's shell does between the two (edits, removal of forged headers) is done here once more, in a few
//! lines; that the shell does the same is what the other arms show.

use super::{Arm, Running, received};
use crate::case::{Behaviour, Case, Request};
use crate::fleet::{self, DOWN, Fleet, Scripts};
use crate::observed::{Arrival, Reply};
use envoy_plan::{CLUSTER_HEADER, PROFILE_HEADER, Plan};
use istio_config::{Config, Diagnostics, FilterConfig, yaml};
use std::sync::Arc;
use std::time::Duration;
use traffic_policy::{Abort, Decision, Edit, Forward, HeaderPair, Policy, RequestHead};
use upstream::request_head::{EXPECTED_TIMEOUT_HEADER, reaches_upstream};
use upstream::{Answer, Ask, Attempt, Begun, Event, Exchange, Failure, Fault, Step, Timestamp, Upstreams};

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
        let (plan, filter) = deployment(&Fleet::imaginary(), case)?;
        let mut diagnostics = Diagnostics::default();
        let policy = Policy::compile(&filter, &mut diagnostics).ok_or_else(|| findings(&diagnostics))?;
        Ok(Box::new(World {
            policy,
            upstreams: Upstreams::new(plan),
            fleet: Fleet::imaginary(),
            scripts: Scripts::new(case),
            arrivals: Vec::new(),
            now: Timestamp::from_nanos(1),
            chance: SplitMix(0x5eed),
        }))
    }
}

/// Plan and filter configuration as the command makes them.
pub(super) fn deployment(fleet: &Fleet, case: &Case) -> Result<(Arc<Plan>, FilterConfig), String> {
    let (mut config, mut sources, mut diagnostics) = <(Config, yaml::Sources, Diagnostics)>::default();
    for (file, text) in fleet.manifests(case) {
        yaml::read(file, &text, &mut config, &mut sources, &mut diagnostics);
    }
    let (plan, bindings) = Plan::build(&config, &mut diagnostics);
    if diagnostics.has_errors() {
        return Err(findings(&diagnostics));
    }
    Ok((Arc::new(plan), FilterConfig { config, bindings, namespace: "default".to_owned(), ..FilterConfig::default() }))
}

fn findings(diagnostics: &Diagnostics) -> String {
    diagnostics.iter().map(|finding| format!("\n    {finding}")).collect()
}

/// SplitMix64: enough for tests, and the same on every run.
struct SplitMix(u64);

impl SplitMix {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

struct World {
    policy: Policy,
    upstreams: Upstreams,
    fleet: Fleet,
    scripts: Scripts,
    arrivals: Vec<Arrival>,
    now: Timestamp,
    chance: SplitMix,
}

/// Names in lower case and values; pseudo-headers among them.
type Head = Vec<(String, String)>;

impl Running for World {
    fn send(&mut self, request: &Request) -> Result<Reply, String> {
        let begun = self.now;
        let mut head: Head = [
            (":authority", request.send.host.as_str()),
            (":path", &request.send.target),
            (":method", &request.send.method),
            (":scheme", "http"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        head.extend(received(request).map(|(name, value)| (name, value.to_owned())));
        if !head.iter().any(|(name, _)| name == "x-forwarded-proto") {
            head.push(("x-forwarded-proto".to_owned(), "http".to_owned()));
        }
        let pairs: Vec<HeaderPair<'_>> = head.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let decision = self.policy.decide(&RequestHead::new(&pairs), &mut || self.chance.draw());
        let (mut reply, rule) = match decision {
            Decision::Reply(reply) => {
                let headers = reply.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
                let body = reply.body.into_owned();
                (Reply { status: reply.status, headers, body, ..Reply::default() }, reply.response)
            }
            Decision::Forward(forward) => {
                let head = written(&head, &forward);
                let rule = forward.response;
                let body = request.body.clone().unwrap_or_default();
                (
                    carry_out(
                        &mut self.upstreams,
                        &mut Outside {
                            fleet: &self.fleet,
                            scripts: &mut self.scripts,
                            arrivals: &mut self.arrivals,
                            now: &mut self.now,
                            chance: &mut self.chance,
                        },
                        &head,
                        &body,
                    )?,
                    rule,
                )
            }
        };
        if let Some(rule) = rule {
            let mut head = reply.headers.clone();
            head.push((":status".to_owned(), reply.status.to_string()));
            let pairs: Vec<HeaderPair<'_>> =
                head.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            apply(&mut reply.headers, &self.policy.response_edits(&rule, &pairs));
        }
        reply.took = self.now.since(begun);
        Ok(reply)
    }

    fn arrivals(&mut self, _expected: usize) -> Vec<Arrival> {
        std::mem::take(&mut self.arrivals)
    }
}

/// The request head as the filter leaves it.
fn written(head: &Head, forward: &Forward<'_>) -> Head {
    let mut head = head.clone();
    head.retain(|(name, _)| !name.starts_with("x-shunt-") && !name.starts_with("x-envoy-fault-"));
    let target = head.iter().find(|(name, _)| name == ":path").map(|(_, target)| target.clone()).unwrap_or_default();
    apply(&mut head, &forward.edits);
    if let Some(authority) = forward.authority {
        set(&mut head, ":authority", authority);
    }
    if let Some(path) = &forward.path {
        set(&mut head, "x-envoy-original-path", &target);
        set(&mut head, ":path", &String::from_utf8_lossy(path));
    }
    if let Some(delay_ms) = forward.fault.delay_ms {
        set(&mut head, "x-envoy-fault-delay-request", &delay_ms.to_string());
    }
    match forward.fault.abort {
        Some(Abort::Http(status)) => set(&mut head, "x-envoy-fault-abort-request", &status.to_string()),
        Some(Abort::Grpc(status)) => set(&mut head, "x-envoy-fault-abort-grpc-request", &status.to_string()),
        None => {}
    }
    if let Some(profile) = forward.profile {
        set(&mut head, PROFILE_HEADER, profile);
    }
    set(&mut head, CLUSTER_HEADER, forward.cluster);
    head
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn apply(head: &mut Head, edits: &[Edit<'_>]) {
    for edit in edits {
        match edit {
            Edit::Set(name, value) => set(head, name, &text(value)),
            Edit::Add(name, value) => head.push((name.to_string(), text(value))),
            Edit::Remove(name) => head.retain(|(own, _)| **own != **name),
        }
    }
}

fn set(head: &mut Head, name: &str, value: &str) {
    head.retain(|(own, _)| own != name);
    head.push((name.to_owned(), value.to_owned()));
}

/// Everything around an exchange.
struct Outside<'a> {
    fleet: &'a Fleet,
    scripts: &'a mut Scripts,
    arrivals: &'a mut Vec<Arrival>,
    now: &'a mut Timestamp,
    chance: &'a mut SplitMix,
}

/// What an endpoint does with the attempt under way.
enum UnderWay {
    Nothing,
    Fails(Failure),
    Answers(Timestamp, Reply),
}

fn carry_out(upstreams: &mut Upstreams, outside: &mut Outside<'_>, head: &Head, body: &str) -> Result<Reply, String> {
    let pairs = || head.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let fault = Fault::read(pairs());
    *outside.now = outside.now.after(fault.delay.unwrap_or_default());
    if let Some(reply) = fault.abort {
        return Ok(local(&reply));
    }
    let ask = Ask::read(pairs(), true);
    let begun = upstreams.begin(&ask, *outside.now, &mut || outside.chance.draw());
    let (mut exchange, first) = match begun {
        Err(reply) => return Ok(local(&reply)),
        Ok(Begun { exchange, attempt, shadows }) => {
            for shadow in &shadows {
                outside.arrive(&shadow.attempt, &shadow.exchange, head, body);
            }
            (exchange, attempt)
        }
    };
    let mut step = Step::Attempt(first);
    let mut under_way = UnderWay::Nothing;
    loop {
        match step {
            Step::Attempt(attempt) => {
                under_way = outside.arrive(&attempt, &exchange, head, body);
                if !matches!(under_way, UnderWay::Fails(Failure::Connect)) {
                    exchange.on(Event::Connected, *outside.now, &mut || outside.chance.draw());
                }
            }
            Step::BackOff => under_way = UnderWay::Nothing,
            Step::Continue => {}
            Step::Deliver { .. } => {
                if let UnderWay::Answers(_, reply) = under_way {
                    return Ok(reply);
                }
                return Err("an answer was to be delivered and there was none".to_owned());
            }
            Step::Reply(reply) => return Ok(local(&reply)),
            Step::Abort { details, .. } => return Err(format!("broken off: {details}")),
        }
        let limit = exchange.wake_at();
        step = match &under_way {
            UnderWay::Fails(failure) => {
                exchange.on(Event::Failed(*failure), *outside.now, &mut || outside.chance.draw())
            }
            UnderWay::Answers(at, reply) if limit.is_none_or(|limit| *at < limit) => {
                *outside.now = (*outside.now).max(*at);
                let header = |name: &str| {
                    let found = reply.headers.iter().find(|(own, _)| own == name);
                    found.map(|(_, value)| value.as_bytes())
                };
                let answer = Answer { status: reply.status, header: &header };
                exchange.on(Event::Answered(answer), *outside.now, &mut || outside.chance.draw())
            }
            UnderWay::Answers(..) | UnderWay::Nothing => {
                *outside.now = limit.ok_or("nobody answers, and nothing limits the time")?;
                exchange.on(Event::Woken, *outside.now, &mut || outside.chance.draw())
            }
        };
    }
}

impl Outside<'_> {
    /// Something is sent to an endpoint.
    fn arrive(&mut self, attempt: &Attempt, exchange: &Exchange, head: &Head, body: &str) -> UnderWay {
        let (address, port) = (attempt.endpoint.address(), attempt.endpoint.port());
        let endpoint = self.fleet.at(address, port).expect("an endpoint of the fleet");
        if endpoint == DOWN {
            return UnderWay::Fails(Failure::Connect);
        }
        let pseudo = |name: &str| crate::observed::values(head, name).next().unwrap_or_default().to_owned();
        let mut headers: Head = head
            .iter()
            .filter(|(name, _)| !name.starts_with(':') && reaches_upstream(name.as_bytes()))
            .cloned()
            .collect();
        if let Some(expected) = exchange.expected_timeout_ms(*self.now) {
            headers.push((EXPECTED_TIMEOUT_HEADER.to_owned(), expected.to_string()));
        }
        self.arrivals.push(Arrival {
            endpoint,
            method: pseudo(":method"),
            target: pseudo(":path"),
            authority: pseudo(":authority"),
            headers,
            body: body.into(),
        });
        match self.scripts.next(endpoint) {
            Behaviour::Hang => UnderWay::Nothing,
            Behaviour::Close => UnderWay::Fails(Failure::Disconnected { before_request: false }),
            Behaviour::Answer(answer) => {
                let (headers, body) = fleet::written(endpoint, &answer);
                let reply = Reply { status: answer.status, headers, body: body.into(), took: Duration::ZERO };
                UnderWay::Answers(self.now.after(answer.after), reply)
            }
        }
    }
}

fn local(reply: &upstream::LocalReply) -> Reply {
    Reply { status: reply.status, body: reply.body.into(), ..Reply::default() }
}
