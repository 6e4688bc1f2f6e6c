//! Why a request meets what it meets: the same look-up as [`Policy::decide`], with everything said and nothing drawn.
//!
//! Where `decide` draws, an explanation gives every outcome with its probability, so one answer holds for all requests
//! of that form. What a rule means is never worked out a second time here: matchers, edits, rewrites and replies are
//! asked, as `decide` asks them.

use crate::breaker::{Admission, Guard, GuardRule};
use crate::decision::Abort;
use crate::format::{Early, Fact, Value};
use crate::headers::{self, Edit};
use crate::matcher::Mismatch;
use crate::ratio::Ratio;
use crate::reply::{CorsOutcome, LocalReply};
use crate::request::{HeaderPair, RequestHead};
use crate::route::{
    Action, ActionKind, ForwardRule, LeftOut, Policy, RouteRule, RuleId, Target, at, direct_reply, origin,
};
use crate::select::Draw;
use crate::sticky::Choice;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

pub use crate::route::WhyLeftOut;

/// What the rules say about one request. Serialized in camel case; what is absent or empty is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation<'p> {
    /// The domain by which the Host header found its rules, as in `*.example.com`; absent for an unknown host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The rule that decides; absent when none matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleName<'p>>,
    /// Match blocks before it in file order, each with the first condition that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried<'p>>,
    /// How many more were tried beyond the number that was asked for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub untold: usize,
    /// Match blocks of the same host that no request can meet, and why; as many as were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<NoPlace<'p>>,
    /// What is done with the request.
    pub action: ActionName,
    /// Probability of a delay, and how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<DelayShare>,
    /// Probability of an abort, and with what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<AbortShare>,
    /// The answer, where the filter itself answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply<'p>>,
    /// How the destination comes about, where users stay on a version (`ShuntPolicy.sticky`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// Where it may go; probabilities sum to 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<DestinationShare<'p>>,
    /// The new request target, path and query, if a rewrite changes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewritten: Option<Cow<'p, str>>,
    /// Probability of each mirror of the rule, in file order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<f64>,
    /// Name of the profile for each combination of drawn mirrors (entry `n` has mirror `i` where bit `i` of `n` is set);
    /// an empty name is the default profile, and so is an empty list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<Cow<'p, str>>,
    /// The same for a request to a destination that has a [`DestinationShare::fallback`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback_profiles: Vec<Cow<'p, str>>,
}

impl Explanation<'_> {
    /// Share of the requests that no abort answers, from 0 to 1: probabilities of destinations, mirrors and the reply are
    /// parts of it.
    pub fn let_through(&self) -> f64 {
        1.0 - self.abort.map_or(0.0, |abort| abort.probability)
    }
}

/// What is done with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ActionName {
    /// It goes to one of the destinations.
    Forward,
    /// It is answered with another place to look.
    Redirect,
    /// It is answered with a fixed body.
    DirectResponse,
    /// A Gateway's server sends every plain request to https (`tls.httpsRedirect`).
    HttpsRedirect,
    /// It is a CORS preflight that is answered here.
    Preflight,
    /// The host is known, and none of its rules matches: 404.
    NoRule,
    /// No rule and no service has this host, and the outbound traffic policy is REGISTRY_ONLY: 502.
    BlockAll,
    /// No rule and no service has this host: 404.
    #[default]
    UnknownHost,
    /// No rule has this host: it is left to the routes that istiod has made.
    Pass,
}

/// A rule by the places that the user wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleName<'p> {
    /// `namespace/name` of the VirtualService, or the host of a service without one, or `allow_any` or `block_all` for hosts
    /// that nothing knows.
    pub owner: Cow<'p, str>,
    /// Index in `spec.http`; absent for the default route of a service, and for hosts that nothing knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<u32>,
    /// Index in `match`; absent when the rule has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#match: Option<u32>,
    /// The rule of the delegate that this one hands over to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegate: Option<Box<RuleName<'p>>>,
}

impl fmt::Display for RuleName<'_> {
    /// As [`RuleId`] is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.http, self.r#match) {
            (None, _) => write!(f, "{}: {}", self.owner, origin(&self.owner))?,
            (Some(http), None) => write!(f, "{}: http[{http}]", self.owner)?,
            (Some(http), Some(block)) => write!(f, "{}: http[{http}].match[{block}]", self.owner)?,
        }
        self.delegate.iter().try_for_each(|delegate| write!(f, " -> {delegate}"))
    }
}

/// A match block that did not take the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tried<'p> {
    /// Which one.
    pub rule: RuleName<'p>,
    /// The first condition that failed, as a field of the match block: `uri`, `headers[end-user]`.
    pub condition: String,
    /// What the request has there: every value of a header, nothing when it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<String>,
}

/// A match block without a place here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoPlace<'p> {
    /// Which one.
    pub rule: RuleName<'p>,
    /// Why.
    pub why: WhyLeftOut,
}

/// `fault.delay`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DelayShare {
    /// From 0 to 1.
    pub probability: f64,
    /// Milliseconds.
    pub delay_ms: u64,
}

/// `fault.abort`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AbortShare {
    /// From 0 to 1.
    pub probability: f64,
    /// HTTP status, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// gRPC status, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u16>,
}

/// An answer of the filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply<'p> {
    /// HTTP status.
    pub status: u16,
    /// Headers beside those that the host makes, after the rule's edits of the response.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(Cow<'p, str>, String)>,
    /// Bytes of the body.
    pub body_bytes: usize,
}

/// One destination of the rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationShare<'p> {
    /// Cluster, by Istio's name.
    pub cluster: Cow<'p, str>,
    /// Weight as it counts; 1 for a single destination.
    pub weight: u64,
    /// From 0 to 1.
    pub probability: f64,
    /// The new authority, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<Cow<'p, str>>,
    /// Edits of the request headers, in the order of effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub request_edits: Vec<ToldEdit<'p>>,
    /// Edits of the response headers, in the order of effect. What only the response knows stands as its command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub response_edits: Vec<ToldEdit<'p>>,
    /// The cluster that the request goes to instead, so that another version is asked where this one fails; as long as the
    /// budget lasts (`ShuntPolicy.fallback`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Cow<'p, str>>,
    /// The cluster that requests go to while this one is out (`ShuntPolicy.breaker`, `killSwitch`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_in: Option<Cow<'p, str>>,
}

/// Switches as they are configured.
struct Switched<'p>(&'p [Guard]);

impl Draw for Switched<'_> {
    fn draw(&mut self) -> u64 {
        0
    }

    fn falls_back(&mut self, _: u32) -> bool {
        true
    }

    fn admits(&mut self, guard: u32, _: u32) -> Admission {
        let switch = at(self.0, guard).and_then(|guard| guard.switch.as_ref());
        if switch.is_some_and(|switch| switch.on) { Admission::No } else { Admission::Yes }
    }
}

/// An edit of a header map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ToldEdit<'p> {
    /// Name and value.
    Set(Cow<'p, str>, Cow<'p, str>),
    /// Name and value.
    Add(Cow<'p, str>, Cow<'p, str>),
    /// Name.
    Remove(Cow<'p, str>),
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Nothing is drawn; what stands in no header is what this makes of it.
struct Undrawn<F>(F);

impl<F: FnMut(Fact) -> Option<Vec<u8>>> Draw for Undrawn<F> {
    fn draw(&mut self) -> u64 {
        0
    }

    fn falls_back(&mut self, _: u32) -> bool {
        true
    }

    fn admits(&mut self, _: u32, _: u32) -> Admission {
        Admission::Yes
    }

    fn fact(&mut self, fact: Fact) -> Option<Vec<u8>> {
        (self.0)(fact)
    }
}

/// A fact by its command.
fn told(fact: Fact) -> Option<Vec<u8>> {
    Some(fact.command().as_bytes().to_vec())
}

/// The address of a client behind another proxy, whom `x-forwarded-for` names last, as for Envoy.
fn client(request: &RequestHead<'_>) -> Option<Vec<u8>> {
    let last = request.values(b"x-forwarded-for").last()?.rsplit(|byte| *byte == b',').next()?;
    let address: IpAddr = std::str::from_utf8(last.trim_ascii()).ok()?.parse().ok()?;
    Some(SocketAddr::new(address, 0).to_string().into())
}

impl Policy {
    /// Explains what becomes of a request. At most `limit` of the blocks that were tried in vain are told one by one.
    pub fn explain(&self, request: &RequestHead<'_>, limit: usize) -> Explanation<'_> {
        let found = self.hosts.find_with_domain(request.authority());
        let found = found.and_then(|(host, domain)| Some((at(&self.virtual_hosts, host)?, domain)));
        let Some((host, domain)) = found else {
            if self.passes_unknown {
                return Explanation { action: ActionName::Pass, ..Explanation::default() };
            }
            return Explanation { reply: Some(told_reply(&LocalReply::UNKNOWN_HOST, &[])), ..Explanation::default() };
        };
        if let Some(redirect) = host.redirects(request) {
            let reply = Some(told_reply(&redirect.reply(request, 0), &[]));
            let action = ActionName::HttpsRedirect;
            return Explanation { domain: Some(domain), action, reply, ..Explanation::default() };
        }
        let (decides, before, tried) = self.as_compared(request, |compared| {
            let decides = host.first(compared);
            let before = decides.and_then(|decides| usize::try_from(decides).ok()).unwrap_or(host.rules.len());
            let rules = host.rules.iter().take(before.min(limit));
            (decides, before, rules.filter_map(|rule| tried(rule, compared)).collect::<Vec<_>>())
        });
        let mut explanation = Explanation {
            domain: Some(domain),
            untold: before.saturating_sub(tried.len()),
            tried,
            left_out: host.left_out.iter().take(limit).map(NoPlace::from).collect(),
            action: ActionName::NoRule,
            ..Explanation::default()
        };
        let rule = decides.and_then(|rule| at(&host.rules, rule));
        match rule.and_then(|rule| Some((rule, at(&self.actions, rule.action)?))) {
            Some((rule, action)) => self.explain_action(rule, action, request, &mut explanation),
            None => explanation.reply = Some(told_reply(&LocalReply::NO_RULE, &[])),
        }
        explanation
    }

    fn explain_action<'p>(
        &'p self,
        rule: &'p RouteRule,
        action: &'p Action,
        request: &RequestHead<'_>,
        explanation: &mut Explanation<'p>,
    ) {
        explanation.rule = Some(RuleName::from(&rule.id));
        if let Some(fault) = &action.fault {
            explanation.delay =
                fault.delay.map(|(share, delay_ms)| DelayShare { probability: share.value(), delay_ms });
            explanation.abort = fault.abort.map(|(share, abort)| {
                let probability = share.value();
                match abort {
                    Abort::Http(status) => AbortShare { probability, http_status: Some(status), grpc_status: None },
                    Abort::Grpc(status) => AbortShare { probability, http_status: None, grpc_status: Some(status) },
                }
            });
        }
        let origin = match action.cors.as_ref().map_or(CorsOutcome::None, |policy| policy.check(request)) {
            CorsOutcome::Preflight(reply) => {
                explanation.action = ActionName::Preflight;
                explanation.reply = Some(told_reply(&reply, &[]));
                return;
            }
            CorsOutcome::Allowed => Some((rule.action, request.values(b"origin").next().unwrap_or_default().to_vec())),
            CorsOutcome::None => None,
        };
        match &action.kind {
            ActionKind::Forward(forward) => {
                explanation.action = ActionName::Forward;
                self.explain_forward(rule, forward, origin, request, explanation);
            }
            ActionKind::Redirect(redirect, target) => {
                explanation.action = ActionName::Redirect;
                let reply = redirect.reply(request, rule.matched_prefix());
                explanation.reply = Some(self.edited_reply(&reply, *target, origin, request));
            }
            ActionKind::Direct(status, body, target) => {
                explanation.action = ActionName::DirectResponse;
                let reply = direct_reply(*status, body, request);
                explanation.reply = Some(self.edited_reply(&reply, *target, origin, request));
            }
            ActionKind::BlockAll => {
                explanation.action = ActionName::BlockAll;
                explanation.reply = Some(told_reply(&LocalReply::BLOCK_ALL, &[]));
            }
        }
    }

    fn explain_forward<'p>(
        &'p self,
        rule: &'p RouteRule,
        forward: &'p ForwardRule,
        origin: Option<(u32, Vec<u8>)>,
        request: &RequestHead<'_>,
        explanation: &mut Explanation<'p>,
    ) {
        let ForwardRule { targets, sticky, mirrors, profiles, fallback, guards } = forward;
        // Nothing is drawn. Where only the connection would tell who asks, it is told as chance.
        let mut undrawn = Undrawn(|fact| (fact == Fact::RemoteAddress).then(|| client(request)).flatten());
        let chosen = sticky.as_ref().and_then(|sticky| sticky.pick(request, &mut undrawn));
        explanation.choice = sticky.as_ref().map(|_| chosen.as_ref().map_or(Choice::ByWeight, |chosen| chosen.choice));
        let weighted: Vec<(u32, u64)> = match (&chosen, explanation.choice) {
            (Some(chosen), Some(Choice::ByKey | Choice::ByOverride)) => vec![(chosen.target, 1)],
            _ => targets.weights().collect(),
        };
        let total: u64 = weighted.iter().map(|(_, weight)| weight).sum();
        let weighted = self.as_switched(guards, &weighted);
        let rewritten = rule.rewrite.as_ref().map(|rewrite| rewrite.apply(request.path(), request.query()));
        let destinations = weighted.into_iter().filter_map(|(index, weight)| {
            let target = at(&self.targets, index)?;
            let stands_in = guards.stands_in(index).and_then(|stable| at(&self.targets, stable));
            let (request_edits, tried) = request_edits(target, request.pairs());
            let left = headers::as_it_leaves(&tried, rewritten.as_deref(), target.authority.as_ref());
            Some(DestinationShare {
                cluster: Cow::Borrowed(&target.cluster),
                weight,
                probability: share_of(weight, total),
                authority: target.authority.as_ref().map(|authority| Cow::Borrowed(authority.name())),
                request_edits: request_edits.into_iter().map(ToldEdit::from).collect(),
                response_edits: self.told_response_edits(index, origin.clone(), &left),
                fallback: fallback.as_ref().and_then(|rule| rule.cluster(index, request)).map(Cow::Borrowed),
                stands_in: stands_in.map(|target| Cow::Borrowed(&*target.cluster)),
            })
        });
        explanation.destinations = destinations.collect();
        explanation.rewritten = rewritten.map(|target| owned(&target));
        explanation.mirrors = mirrors.iter().map(|share| share.value()).collect();
        let told = |names: &'p [Box<str>]| names.iter().map(|name| Cow::Borrowed(&**name)).collect();
        explanation.profiles = told(profiles);
        let falls_back = |to: &DestinationShare<'_>| to.fallback.is_some();
        if let Some(rule) = fallback.as_ref().filter(|_| explanation.destinations.iter().any(falls_back)) {
            explanation.fallback_profiles = told(&rule.profiles);
        }
    }

    /// The targets with a kill switch that is on by configuration at work. What a breaker does no explanation knows.
    fn as_switched(&self, guards: &GuardRule, weighted: &[(u32, u64)]) -> Vec<(u32, u64)> {
        let mut switched: Vec<(u32, u64)> = Vec::with_capacity(weighted.len());
        for (target, weight) in weighted {
            let passed = guards.pass(*target, &mut Switched(&self.guards)).map_or(*target, |(target, _)| target);
            match switched.iter_mut().find(|(known, _)| *known == passed) {
                Some((_, sum)) => *sum = sum.saturating_add(*weight),
                None => switched.push((passed, *weight)),
            }
        }
        switched
    }

    fn told_response_edits(
        &self,
        target: u32,
        origin: Option<(u32, Vec<u8>)>,
        request: &[HeaderPair<'_>],
    ) -> Vec<ToldEdit<'_>> {
        let Some(rule) = self.response_rule(target, origin, request, &mut Undrawn(told)) else { return Vec::new() };
        self.response_edits_with(&rule, &[], |late, _| late.command().into_bytes())
            .into_iter()
            .map(ToldEdit::from)
            .collect()
    }

    fn edited_reply<'p>(
        &'p self,
        reply: &LocalReply<'p>,
        target: u32,
        origin: Option<(u32, Vec<u8>)>,
        request: &RequestHead<'_>,
    ) -> Reply<'p> {
        told_reply(reply, &self.told_response_edits(target, origin, request.pairs()))
    }
}

fn request_edits<'p>(target: &'p Target, pairs: &[HeaderPair<'_>]) -> (Vec<Edit<'p>>, headers::Tried) {
    headers::resolve(&target.edits.request, pairs, |value: &'p Value, seen| {
        let early = value.early(|early: &Early| early.evaluate(seen, &target.cluster, told));
        value.render(&mut early.into_iter(), |_| Vec::new())
    })
}

fn tried<'p>(rule: &'p RouteRule, request: &RequestHead<'_>) -> Option<Tried<'p>> {
    let Mismatch { condition, found } = rule.matcher.mismatch(request)?;
    let found = found.into_iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
    Some(Tried { rule: RuleName::from(&rule.id), condition, found })
}

/// The answer as a client gets it; `edits` in the order of effect.
fn told_reply<'p>(reply: &LocalReply<'p>, edits: &[ToldEdit<'p>]) -> Reply<'p> {
    let LocalReply { status, headers, body, details: _, response: _ } = reply;
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let mut headers: Vec<(Cow<'p, str>, String)> =
        headers.iter().map(|(name, value)| (Cow::Borrowed(*name), text(value))).collect();
    for edit in edits {
        match edit {
            ToldEdit::Set(name, value) => {
                headers.retain(|(own, _)| own != name);
                headers.push((name.clone(), value.to_string()));
            }
            ToldEdit::Add(name, value) => headers.push((name.clone(), value.to_string())),
            ToldEdit::Remove(name) => headers.retain(|(own, _)| own != name),
        }
    }
    Reply { status: *status, headers, body_bytes: body.len() }
}

fn share_of(weight: u64, total: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people; decisions are made in whole numbers")]
    let share = weight as f64 / total.max(1) as f64;
    share
}

fn owned(bytes: &[u8]) -> Cow<'static, str> {
    Cow::Owned(String::from_utf8_lossy(bytes).into_owned())
}

impl<'p> From<&'p RuleId> for RuleName<'p> {
    fn from(id: &'p RuleId) -> Self {
        let RuleId { owner, http, match_block, delegate } = id;
        let delegate = delegate.as_ref().map(|delegate| Box::new(Self::from(&**delegate)));
        Self { owner: Cow::Borrowed(owner), http: *http, r#match: *match_block, delegate }
    }
}

impl<'p> From<&'p LeftOut> for NoPlace<'p> {
    fn from(LeftOut { rule, why }: &'p LeftOut) -> Self {
        Self { rule: rule.into(), why: *why }
    }
}

impl<'p> From<Edit<'p>> for ToldEdit<'p> {
    fn from(edit: Edit<'p>) -> Self {
        let text = |value: Cow<'p, [u8]>| match value {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => owned(&bytes),
        };
        match edit {
            Edit::Set(name, value) => Self::Set(Cow::Borrowed(name), text(value)),
            Edit::Add(name, value) => Self::Add(Cow::Borrowed(name), text(value)),
            Edit::Remove(name) => Self::Remove(Cow::Borrowed(name)),
        }
    }
}

impl Ratio {
    /// From 0 to 1, for people.
    fn value(self) -> f64 {
        f64::from(self.per_million()) / 1e6
    }
}
