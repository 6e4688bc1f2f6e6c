//! The whole of routing: Host picks a virtual host, its rules are tried in file order, the first that matches decides.

use crate::breaker::{Guard, GuardRule};
use crate::decision::{Abort, Decision, Fault, Forward, NewAuthority, ResponseRule};
use crate::fallback::{BudgetRule, FallbackRule};
use crate::format::{Early, Late, Value};
use crate::headers::{self, Edit, HeaderEdits};
use crate::hosts::HostTable;
use crate::index::RuleIndex;
use crate::matcher::{PathMatcher, RequestMatcher};
use crate::propagate::Propagation;
use crate::ratio::Ratio;
use crate::reply::{Cors, CorsOutcome, LocalReply, Redirect};
use crate::request::{HeaderPair, RequestHead};
use crate::rewrite::PathRewrite;
use crate::select::{Draw, WeightedTargets};
use crate::sticky::{Choice, Chosen, Cookie, StickyRule, StickyTargets};
use crate::trace;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A compiled configuration. Immutable; a new configuration is a new policy.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub(crate) hosts: HostTable,
    pub(crate) virtual_hosts: Vec<VirtualHost>,
    pub(crate) actions: Vec<Action>,
    pub(crate) targets: Vec<Target>,
    /// Whether each request goes on under a span of its own (`tracing.freshSpans`).
    pub(crate) fresh_spans: bool,
    /// Whether requests to unknown hosts are left to other routes (`listener`), rather than answered with 404.
    pub(crate) passes_unknown: bool,
    /// Whether conditions see the values of a repeated header as one (`repeatedHeaders: JOINED`).
    pub(crate) joins_repeated: bool,
    /// What is kept of inbound requests for outbound ones.
    pub(crate) propagation: Option<Propagation>,
    /// How much may be asked again, for each policy with a fallback.
    pub(crate) budgets: Box<[BudgetRule]>,
    /// Versions that are watched.
    pub(crate) guards: Box<[Guard]>,
}

/// The rules of one or more domains, in order.
#[derive(Clone, Debug)]
pub(crate) struct VirtualHost {
    pub(crate) index: RuleIndex,
    pub(crate) rules: Vec<RouteRule>,
    /// Match blocks that have no place here; kept for explanations.
    pub(crate) left_out: Box<[LeftOut]>,
    /// Where requests go that did not come by https (`tls.httpsRedirect`), before any rule is looked at.
    pub(crate) https_redirect: Option<Redirect>,
}

/// One rule × one match block.
#[derive(Clone, Debug)]
pub(crate) struct RouteRule {
    pub(crate) id: RuleId,
    pub(crate) matcher: Arc<RequestMatcher>,
    pub(crate) rewrite: Option<PathRewrite>,
    /// Index into [`Policy::actions`]; match blocks of one rule share theirs.
    pub(crate) action: u32,
}

/// A match block that no request to a virtual host can meet.
#[derive(Clone, Debug)]
pub(crate) struct LeftOut {
    pub(crate) rule: RuleId,
    pub(crate) why: WhyLeftOut,
}

/// What was decided about a match block before any request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WhyLeftOut {
    /// `gateways` names none through which the host is reached.
    Gateways,
    /// `port` is not the listener's.
    Port,
    /// `sourceLabels` are not those of the proxy's workload.
    SourceLabels,
    /// `sourceNamespace` is not the proxy's.
    SourceNamespace,
    /// A rule before it takes every request; istiod makes no routes behind it.
    BehindCatchAll,
}

/// What a rule does with its requests.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    pub(crate) fault: Option<FaultRule>,
    pub(crate) cors: Option<Cors>,
    pub(crate) kind: ActionKind,
}

#[derive(Clone, Debug)]
pub(crate) enum ActionKind {
    Forward(ForwardRule),
    /// The target holds the response edits, here and below.
    Redirect(Redirect, u32),
    /// `HTTPDirectResponse`: status and body.
    Direct(u16, Box<[u8]>, u32),
    /// No host of the registry (`outboundTrafficPolicy: REGISTRY_ONLY`).
    BlockAll,
}

/// Owners of the rules for hosts that nothing knows (`outboundTrafficPolicy`), by istiod's names. No host and no
/// VirtualService is called so: those have a dot or a slash in their full names.
pub(crate) const ALLOW_ANY: &str = "allow_any";
pub(crate) const BLOCK_ALL: &str = "block_all";

/// What stands behind the owner in the name of a rule without a place in a file.
pub(crate) fn origin(owner: &str) -> &'static str {
    match owner {
        ALLOW_ANY | BLOCK_ALL => "outboundTrafficPolicy",
        _ => "default route",
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ForwardRule {
    pub(crate) targets: WeightedTargets,
    /// The same for users who stay.
    pub(crate) sticky: Option<StickyTargets>,
    /// Share of requests that each mirror gets.
    pub(crate) mirrors: Box<[Ratio]>,
    /// Profile by drawn mirrors (`ProfileBinding::profiles`); nothing means the default.
    pub(crate) profiles: Box<[Box<str>]>,
    /// By what another version is asked where the one that was chosen fails.
    pub(crate) fallback: Option<FallbackRule>,
    /// Who is kept from a version that is out.
    pub(crate) guards: GuardRule,
}

impl ForwardRule {
    /// One of a service without rules: to this target, under these profiles, and nothing else.
    pub(crate) fn plain(target: u32, profiles: Box<[Box<str>]>) -> Self {
        Self {
            targets: WeightedTargets::single(target),
            sticky: None,
            mirrors: Box::default(),
            profiles,
            fallback: None,
            guards: GuardRule::default(),
        }
    }
}

/// `HTTPFaultInjection`; delay and abort are drawn on their own.
#[derive(Clone, Debug)]
pub(crate) struct FaultRule {
    pub(crate) delay: Option<(Ratio, u64)>,
    pub(crate) abort: Option<(Ratio, Abort)>,
}

/// One destination of one rule.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) cluster: Box<str>,
    pub(crate) authority: Option<NewAuthority>,
    pub(crate) edits: Arc<HeaderEdits>,
}

/// Names a rule for people, as they wrote it: `default/reviews: http[1].match[0]`, and with a delegate
/// `default/reviews: http[1].match[0] -> team/reviews: http[0]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleId {
    /// `namespace/name` of the VirtualService, or the host of a service that has none, or `allow_any` or `block_all` for
    /// hosts that nothing knows.
    pub owner: Arc<str>,
    /// Index in `spec.http`; `None` for the default route of a service, and for hosts that nothing knows.
    pub http: Option<u32>,
    /// Index in `match`; `None` when the rule has no match.
    pub match_block: Option<u32>,
    /// The rule of the delegate that this one hands over to.
    pub delegate: Option<Arc<RuleId>>,
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.http, self.match_block) {
            (None, _) => write!(f, "{}: {}", self.owner, origin(&self.owner))?,
            (Some(http), None) => write!(f, "{}: http[{http}]", self.owner)?,
            (Some(http), Some(block)) => write!(f, "{}: http[{http}].match[{block}]", self.owner)?,
        }
        self.delegate.as_ref().map_or(Ok(()), |delegate| write!(f, " -> {delegate}"))
    }
}

impl ForwardRule {
    /// What a request meets: by who its user is, else by its weights.
    fn pick(&self, request: &RequestHead<'_>, draws: &mut impl Draw) -> Chosen {
        let by_user = self.sticky.as_ref().and_then(|sticky| sticky.pick(request, draws));
        by_user.unwrap_or_else(|| Chosen {
            target: self.targets.pick(draws),
            choice: Choice::ByWeight,
            new_cookie: None,
        })
    }

    /// The cookie by which users are known.
    fn cookie(&self) -> Option<&Cookie> {
        self.sticky.as_ref()?.keys.cookie.as_ref()
    }
}

impl RouteRule {
    /// Length of the prefix that the path begins with; 0 for other kinds of match.
    pub(crate) fn matched_prefix(&self) -> usize {
        match &self.matcher.path {
            Some(PathMatcher::Prefix(prefix) | PathMatcher::PrefixAnyCase(prefix)) => prefix.len(),
            _ => 0,
        }
    }
}

impl VirtualHost {
    /// The redirect to https, where a Gateway's server asks for it and the request did not come by it.
    pub(crate) fn redirects(&self, request: &RequestHead<'_>) -> Option<&Redirect> {
        self.https_redirect.as_ref().filter(|_| !request.came_by_https())
    }

    /// The first rule, in file order, that takes the request.
    pub(crate) fn first(&self, request: &RequestHead<'_>) -> Option<u32> {
        self.index.first(request, |rule| at(&self.rules, rule).is_some_and(|rule| rule.matcher.matches(request)))
    }
}

impl FaultRule {
    fn draw(&self, draws: &mut impl Draw) -> Fault {
        let delay_ms = self.delay.filter(|(share, _)| share.hits(draws)).map(|(_, delay_ms)| delay_ms);
        let abort = self.abort.filter(|(share, _)| share.hits(draws)).map(|(_, abort)| abort);
        Fault { delay_ms, abort }
    }
}

impl Policy {
    /// What becomes of a request. `draws` is asked only where there is a choice: first for delay and abort, then for the version, then once for
    /// all mirrors together.
    pub fn decide(&self, request: &RequestHead<'_>, draws: &mut impl Draw) -> Decision<'_> {
        let found = self.hosts.find(request.authority()).and_then(|host| at(&self.virtual_hosts, host));
        let Some(host) = found else {
            return if self.passes_unknown { Decision::Pass } else { Decision::Reply(LocalReply::UNKNOWN_HOST) };
        };
        if let Some(redirect) = host.redirects(request) {
            return Decision::Reply(redirect.reply(request, 0));
        }
        let rule = self.as_compared(request, |compared| host.first(compared)).and_then(|rule| at(&host.rules, rule));
        let decision = rule.and_then(|rule| self.answer(rule, request, draws));
        decision.unwrap_or(Decision::Reply(LocalReply::NO_RULE))
    }

    /// Asks with the request as conditions see it.
    pub(crate) fn as_compared<T>(&self, request: &RequestHead<'_>, ask: impl FnOnce(&RequestHead<'_>) -> T) -> T {
        let Some(joined) = self.joins_repeated.then(|| request.joined()).flatten() else { return ask(request) };
        let pairs: Vec<HeaderPair<'_>> = joined.iter().map(|(name, value)| (*name, &**value)).collect();
        ask(&RequestHead::new(&pairs))
    }

    /// What the rule does. `None` cannot happen: `compile` puts every index in.
    fn answer<'p>(
        &'p self,
        rule: &'p RouteRule,
        request: &RequestHead<'_>,
        draws: &mut impl Draw,
    ) -> Option<Decision<'p>> {
        let action = at(&self.actions, rule.action)?;
        // Envoy's order: faults, then CORS, then the route.
        let fault = action.fault.as_ref().map(|fault| fault.draw(draws)).unwrap_or_default();
        let mut cors = None;
        match action.cors.as_ref().map_or(CorsOutcome::None, |policy| policy.check(request)) {
            // An aborted request never gets as far as CORS.
            _ if fault.abort.is_some() => {}
            CorsOutcome::Preflight(reply) => return Some(Decision::Reply(reply)),
            CorsOutcome::Allowed => {
                let origin = request.values(b"origin").next().unwrap_or_default();
                cors = Some((rule.action, origin.to_vec()));
            }
            CorsOutcome::None => {}
        }
        let mut reply = match &action.kind {
            ActionKind::Forward(forward) => return self.forward(rule, forward, fault, cors, request, draws),
            ActionKind::Redirect(redirect, _) => redirect.reply(request, rule.matched_prefix()),
            ActionKind::Direct(status, body, _) => direct_reply(*status, body, request),
            ActionKind::BlockAll => LocalReply::BLOCK_ALL,
        };
        if let ActionKind::Redirect(_, target) | ActionKind::Direct(_, _, target) = action.kind {
            reply.response = self.response_rule(target, cors, request.pairs(), draws);
        }
        Some(Decision::Reply(reply))
    }

    fn forward<'p>(
        &'p self,
        rule: &'p RouteRule,
        action: &'p ForwardRule,
        fault: Fault,
        cors: Option<(u32, Vec<u8>)>,
        request: &RequestHead<'_>,
        draws: &mut impl Draw,
    ) -> Option<Decision<'p>> {
        let Chosen { target: chosen, choice, new_cookie } = action.pick(request, draws);
        // A fault that is injected is no version's.
        let goes_on = fault.abort.is_none();
        let (target_index, watch) = match goes_on.then(|| action.guards.pass(chosen, draws)).flatten() {
            Some((target, watch)) => (target, Some(watch)),
            None => (chosen, None),
        };
        let target = at(&self.targets, target_index)?;
        let mut drawn = None;
        let mirrors = (0..).zip(&action.mirrors).fold(0, |mirrors, (mirror, share): (u32, _)| {
            mirrors | u64::from(share.hits_by(&mut drawn, draws)).checked_shl(mirror).unwrap_or_default()
        });
        let fallback = action.fallback.as_ref().filter(|_| goes_on).and_then(|fallback| {
            let cluster = fallback.cluster(target_index, request)?;
            draws.falls_back(fallback.budget).then_some((fallback, cluster))
        });
        let (cluster, profiles) = match &fallback {
            Some((fallback, cluster)) => (*cluster, &fallback.profiles),
            None => (&*target.cluster, &action.profiles),
        };
        let profile = usize::try_from(mirrors).ok().and_then(|mirrors| profiles.get(mirrors));
        let path = rule.rewrite.as_ref().map(|rewrite| rewrite.apply(request.path(), request.query()));
        let mut render = |value: &'p Value, seen: &[HeaderPair<'_>]| {
            let early = value.early(|early| early.evaluate(seen, &target.cluster, |fact| draws.fact(fact)));
            value.render(&mut early.into_iter(), |_| Vec::new())
        };
        let (edits, tried) = match headers::literal(&target.edits.request) {
            Some(edits) if target.edits.needs_request() => {
                (edits, headers::resolve(&target.edits.request, request.pairs(), &mut render).1)
            }
            Some(edits) => (edits, Vec::new()),
            None => headers::resolve(&target.edits.request, request.pairs(), &mut render),
        };
        let left = headers::as_it_leaves(&tried, path.as_deref(), target.authority.as_ref());
        let mut response = self.response_rule(target_index, cors, &left, draws);
        // Before the rule's own edits, which have the last word.
        let mut before = if self.fresh_spans { trace::fresh_span(request, || draws.draw()) } else { Vec::new() };
        if let Some(value) = new_cookie
            && let Some(cookie) = action.cookie()
        {
            before.push(Edit::Set("cookie", cookie.added(request, &value).into()));
            response
                .get_or_insert_with(|| ResponseRule { target: target_index, ..ResponseRule::default() })
                .new_cookie = Some((rule.action, value));
        }
        let edits = if before.is_empty() { edits } else { before.into_iter().chain(edits).collect() };
        Some(Decision::Forward(Forward {
            rule: &rule.id,
            target: target_index,
            cluster,
            version: &target.cluster,
            budget: fallback.map(|(fallback, _)| fallback.budget),
            watch,
            choice: action.sticky.as_ref().map(|_| choice),
            profile: profile.map(|name| &**name).filter(|name| !name.is_empty()),
            mirrors,
            path,
            authority: target.authority.as_ref(),
            edits,
            fault,
            response,
        }))
    }

    /// What of the request the response needs; `None` when nothing happens to the response.
    pub(crate) fn response_rule(
        &self,
        target: u32,
        cors: Option<(u32, Vec<u8>)>,
        request: &[HeaderPair<'_>],
        draws: &mut impl Draw,
    ) -> Option<ResponseRule> {
        let Target { edits, cluster, .. } = at(&self.targets, target)?;
        if edits.response.is_empty() {
            return cors.map(|cors| ResponseRule { target, cors: Some(cors), ..ResponseRule::default() });
        }
        let mut evaluate = |early: &Early| early.evaluate(request, cluster, |fact| draws.fact(fact));
        let values = || edits.response.iter().flat_map(headers::Level::values);
        let early = values().flat_map(|value| value.early(&mut evaluate)).collect();
        let needs_headers = values().any(Value::is_late);
        Some(ResponseRule { target, early, cors, new_cookie: None, needs_headers })
    }

    /// Edits of the response headers, in order. They act on every answer to the request, also one that Envoy itself
    /// makes (503 without an endpoint, say). `response` may be empty unless the rule needs it.
    pub fn response_edits<'p>(&'p self, rule: &ResponseRule, response: &[HeaderPair<'_>]) -> Vec<Edit<'p>> {
        self.response_edits_with(rule, response, Late::evaluate)
    }

    /// The same, with what a response's command stands for handed in.
    pub(crate) fn response_edits_with<'p>(
        &'p self,
        rule: &ResponseRule,
        response: &[HeaderPair<'_>],
        evaluate: impl Fn(&Late, &[HeaderPair<'_>]) -> Vec<u8>,
    ) -> Vec<Edit<'p>> {
        let levels = at(&self.targets, rule.target).map_or(&[][..], |target| &target.edits.response);
        let mut edits = headers::literal(levels).unwrap_or_else(|| {
            let mut early = rule.early.iter().cloned();
            headers::resolve(levels, response, |value, seen| value.render(&mut early, |late| evaluate(late, seen))).0
        });
        // Envoy's CORS filter sees the response after the route has edited it.
        if let Some((action, origin)) = &rule.cors
            && let Some(cors) = at(&self.actions, *action).and_then(|action| action.cors.as_ref())
        {
            edits.extend(cors.response_headers(origin).into_iter().map(|(name, value)| Edit::Set(name, value.into())));
        }
        if let Some((action, value)) = &rule.new_cookie
            && let Some(ActionKind::Forward(forward)) = at(&self.actions, *action).map(|action| &action.kind)
            && let Some(cookie) = forward.cookie()
        {
            edits.push(Edit::Add("set-cookie", cookie.written(value).into()));
        }
        edits
    }

    /// Versions that are watched, by the number that [`Watch::guard`](crate::breaker::Watch::guard) is.
    pub fn guards(&self) -> &[Guard] {
        &self.guards
    }

    /// How much may be asked again, by the number that [`Forward::budget`] is.
    pub fn budgets(&self) -> &[BudgetRule] {
        &self.budgets
    }

    /// Whether it has no rule for anything.
    pub fn is_empty(&self) -> bool {
        self.virtual_hosts.is_empty()
    }

    /// Every rule whose users stay on a version, each once.
    pub fn sticky_rules(&self) -> impl Iterator<Item = StickyRule<'_>> {
        let mut seen = BTreeSet::new();
        let rules = self.virtual_hosts.iter().flat_map(|host| &host.rules).filter(move |rule| seen.insert(rule.action));
        rules.filter_map(|rule| match at(&self.actions, rule.action).map(|action| &action.kind) {
            Some(ActionKind::Forward(forward)) => {
                forward.sticky.as_ref().map(|targets| StickyRule { rule: &rule.id, targets })
            }
            _ => None,
        })
    }

    /// Every rule of which a version may be kept from its requests, each once.
    pub fn guarded_rules(&self) -> impl Iterator<Item = &RuleId> {
        let mut seen = BTreeSet::new();
        let rules = self.virtual_hosts.iter().flat_map(|host| &host.rules).filter(move |rule| seen.insert(rule.action));
        rules
            .filter(|rule| match at(&self.actions, rule.action).map(|action| &action.kind) {
                Some(ActionKind::Forward(forward)) => !forward.guards.0.is_empty(),
                _ => false,
            })
            .map(|rule| &rule.id)
    }

    /// Every destination of every rule with its weight, rule by rule. A rule that several match blocks or hosts lead to
    /// is named by the first of them; a single destination has weight 1.
    pub fn shares(&self) -> impl Iterator<Item = (&RuleId, &str, u64)> {
        let mut seen = BTreeSet::new();
        let rules = self.virtual_hosts.iter().flat_map(|host| &host.rules).filter(move |rule| seen.insert(rule.action));
        rules.flat_map(|rule| {
            let forward = match at(&self.actions, rule.action).map(|action| &action.kind) {
                Some(ActionKind::Forward(forward)) => Some(forward),
                _ => None,
            };
            let targets = forward.map(|forward| forward.targets.weights()).into_iter().flatten();
            targets.filter_map(|(target, weight)| Some((&rule.id, &*at(&self.targets, target)?.cluster, weight)))
        })
    }
}

/// `HTTPDirectResponse`, as Envoy gives it: with a `location` where the status wants one.
pub(crate) fn direct_reply<'p>(status: u16, body: &'p [u8], request: &RequestHead<'_>) -> LocalReply<'p> {
    match status {
        201 | 300..=399 => LocalReply { body: body.into(), ..Redirect::to_itself(status).reply(request, 0) },
        _ => LocalReply::plain(status, body, "direct_response"),
    }
}

pub(crate) fn at<T>(items: &[T], index: u32) -> Option<&T> {
    items.get(usize::try_from(index).ok()?)
}
