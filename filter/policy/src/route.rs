//! The whole of routing: Host picks a virtual host, its rules are tried in file order, the first that matches decides.

use crate::decision::{Decision, Forward, LocalReply, ResponseRule};
use crate::headers::{Edit, HeaderEdits};
use crate::hosts::HostTable;
use crate::index::RuleIndex;
use crate::matcher::RequestMatcher;
use crate::ratio::Ratio;
use crate::request::RequestHead;
use crate::rewrite::PathRewrite;
use crate::select::{Draw, WeightedTargets};
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
}

/// The rules of one or more domains, in order.
#[derive(Clone, Debug)]
pub(crate) struct VirtualHost {
    pub(crate) index: RuleIndex,
    pub(crate) rules: Vec<RouteRule>,
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

/// What a rule does with its requests.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    pub(crate) targets: WeightedTargets,
    /// Share of requests that each mirror gets.
    pub(crate) mirrors: Box<[Ratio]>,
    /// Profile by drawn mirrors (`ProfileBinding::profiles`); nothing means the default.
    pub(crate) profiles: Box<[Box<str>]>,
}

/// One destination of one rule.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) cluster: Box<str>,
    pub(crate) authority: Option<Box<str>>,
    pub(crate) edits: Arc<HeaderEdits>,
}

/// Names a rule for people: `default/reviews: http[1].match[0]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleId {
    /// `namespace/name` of the VirtualService, or the host of a service that has none.
    pub owner: Arc<str>,
    /// Index in `spec.http`; `None` for the default route of a service.
    pub http: Option<u32>,
    /// Index in `match`; `None` when the rule has no match.
    pub match_block: Option<u32>,
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.http, self.match_block) {
            (None, _) => write!(f, "{}: default route", self.owner),
            (Some(http), None) => write!(f, "{}: http[{http}]", self.owner),
            (Some(http), Some(block)) => write!(f, "{}: http[{http}].match[{block}]", self.owner),
        }
    }
}

impl Policy {
    /// What becomes of a request. `draws` is asked only where there is a choice: first for the version, then for each
    /// mirror in file order.
    pub fn decide(&self, request: &RequestHead<'_>, draws: &mut impl Draw) -> Decision<'_> {
        let found = self.hosts.find(request.authority()).and_then(|host| at(&self.virtual_hosts, host));
        let Some(host) = found else { return Decision::Reply(LocalReply::UNKNOWN_HOST) };
        let matches = |rule| at(&host.rules, rule).is_some_and(|rule| rule.matcher.matches(request));
        let rule = host.index.first(request, matches).and_then(|rule| at(&host.rules, rule));
        let decision = rule.and_then(|rule| self.forward(rule, request, draws));
        decision.map_or(Decision::Reply(LocalReply::NO_RULE), Decision::Forward)
    }

    /// `None` cannot happen: `compile` puts every index in.
    fn forward<'p>(
        &'p self,
        rule: &'p RouteRule,
        request: &RequestHead<'_>,
        draws: &mut impl Draw,
    ) -> Option<Forward<'p>> {
        let action = at(&self.actions, rule.action)?;
        let target_index = action.targets.pick(draws);
        let target = at(&self.targets, target_index)?;
        let mirrors = (0..).zip(&action.mirrors).fold(0, |drawn, (mirror, share): (u32, _)| {
            drawn | u64::from(share.hits(draws)).checked_shl(mirror).unwrap_or_default()
        });
        let profile = usize::try_from(mirrors).ok().and_then(|mirrors| action.profiles.get(mirrors));
        Some(Forward {
            rule: &rule.id,
            cluster: &target.cluster,
            profile: profile.map(|name| &**name).filter(|name| !name.is_empty()),
            mirrors,
            path: rule.rewrite.as_ref().map(|rewrite| rewrite.apply(request.path(), request.query())),
            authority: target.authority.as_deref(),
            edits: &target.edits.request,
            response: (!target.edits.response.is_empty()).then_some(ResponseRule(target_index)),
        })
    }

    /// Edits of the response headers, in order. They act on every answer to the request, also one that Envoy itself
    /// makes (503 without an endpoint, say).
    pub fn response_edits(&self, rule: ResponseRule) -> &[Edit] {
        at(&self.targets, rule.0).map_or(&[], |target| &target.edits.response)
    }

    /// Every destination of every rule with its weight, rule by rule. A rule that several match blocks or hosts lead to
    /// is named by the first of them; a single destination has weight 1.
    pub fn shares(&self) -> impl Iterator<Item = (&RuleId, &str, u64)> {
        let mut seen = BTreeSet::new();
        let rules = self.virtual_hosts.iter().flat_map(|host| &host.rules).filter(move |rule| seen.insert(rule.action));
        rules.flat_map(|rule| {
            let targets = at(&self.actions, rule.action).map(|action| action.targets.weights()).into_iter().flatten();
            targets.filter_map(|(target, weight)| Some((&rule.id, &*at(&self.targets, target)?.cluster, weight)))
        })
    }

    /// How many rules there are over all virtual hosts.
    pub fn rule_count(&self) -> usize {
        self.virtual_hosts.iter().map(|host| host.rules.len()).sum()
    }
}

fn at<T>(items: &[T], index: u32) -> Option<&T> {
    items.get(usize::try_from(index).ok()?)
}
