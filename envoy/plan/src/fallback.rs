//! `ShuntPolicy.fallback`: which version is asked where another fails, and on what.
//!
//! A request that may be asked again goes to a [`Fallback`] instead of its cluster, under a profile whose attempts leave the
//! cluster that failed ([`Profile::falls_back`](crate::Profile::falls_back)). The conditions of the rule's own retries hold there too: Envoy has one list
//! for each request, and whatever fails is asked of the other version.

use crate::destinations::Client;
use crate::{Fallback, RetryOn, RetryPolicy, durations, retries};
use istio_config::delegates::Expanded;
use istio_config::diagnostic::At;
use istio_config::shunt_policy::attachment::{Attached, Holder, RulePlace};
use istio_config::shunt_policy::{self, VersionRef};
use istio_config::virtual_service::{HttpRetry, HttpRoute};
use istio_config::{Config, Diagnostics, Resource, ShuntPolicy, names};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Conditions where a policy names none: everything that a request can fail by.
const DEFAULT_ON: [RetryOn; 4] = [RetryOn::FiveXx, RetryOn::Reset, RetryOn::ConnectFailure, RetryOn::RefusedStream];

/// The policies that hold, by rule.
pub(crate) struct Fallbacks<'c> {
    by_rule: BTreeMap<RulePlace, Compiled<'c>>,
}

/// What one policy asks for.
#[derive(Clone)]
pub(crate) struct Compiled<'c> {
    policy: &'c Resource<ShuntPolicy>,
    on: Vec<RetryOn>,
    status_codes: Vec<u16>,
    attempts: Option<u32>,
    per_try_timeout: Option<Duration>,
    /// Whom to ask, with the field that says so.
    to: Vec<(To, &'c VersionRef)>,
}

/// Where a version to ask is named.
#[derive(Clone, Copy)]
enum To {
    Stable,
    Listed(usize),
}

impl<'c> Fallbacks<'c> {
    /// Reads every policy; faults are reported.
    pub(crate) fn compile(config: &'c Config, expanded: &'c [Expanded<'_>], diagnostics: &mut Diagnostics) -> Self {
        let has = |spec: &ShuntPolicy| spec.fallback.is_some();
        let forwards = |rule: &HttpRoute| !rule.route.is_empty();
        let mut by_rule = BTreeMap::new();
        for Holder { policy, named, held } in Holder::find("fallback", has, forwards, config, expanded, diagnostics) {
            report_without_route(policy, &named, diagnostics);
            if let Some(compiled) = compile(policy, diagnostics) {
                by_rule.extend(held.iter().map(|rule| (rule.place(), compiled.clone())));
            }
        }
        Self { by_rule }
    }

    /// What holds for a rule.
    pub(crate) fn of(&self, place: &RulePlace) -> Option<&Compiled<'c>> {
        self.by_rule.get(place)
    }
}

/// A policy for rules that forward nothing has nothing to do.
fn report_without_route(policy: &Resource<ShuntPolicy>, named: &[Attached<'_>], diagnostics: &mut Diagnostics) {
    if named.iter().any(|named| !named.rule.route.is_empty()) {
        return;
    }
    let object = At::object(&policy.meta.reference);
    let help = "attach it to a rule with a route";
    let message = "no rule here forwards anything: there is nothing to fall back from";
    diagnostics.warning(&object.field("spec").field("targetRef"), "no-choice", message, help);
}

/// What a policy says. `None` where it says whom to ask in no way; that is reported.
fn compile<'c>(policy: &'c Resource<ShuntPolicy>, diagnostics: &mut Diagnostics) -> Option<Compiled<'c>> {
    let raw = policy.spec.fallback.as_ref()?;
    let shunt_policy::Fallback {
        retry_on,
        attempts,
        per_try_timeout,
        to,
        // The engine's, which says what requests are protected.
        methods: _,
        budget: _,
    } = raw;
    let object = At::object(&policy.meta.reference);
    let spec = object.field("spec");
    let at = spec.field("fallback");
    let (on, status_codes) = match retry_on.is_empty() {
        true => (DEFAULT_ON.to_vec(), Vec::new()),
        false => retries::conditions(&at.field("retryOn"), retry_on, diagnostics),
    };
    if *attempts == Some(0) {
        let help = "write 1 or more, or leave it out";
        diagnostics.error(&at.field("attempts"), "contradiction", "with no attempts nobody is asked", help);
    }
    let per_try_timeout =
        per_try_timeout.and_then(|duration| durations::checked(&at.field("perTryTimeout"), duration, diagnostics));
    let stable = policy.spec.stable.as_ref().filter(|_| to.is_empty());
    let listed = to.iter().enumerate().map(|(index, version)| (To::Listed(index), version));
    let to: Vec<_> = stable.map(|stable| (To::Stable, stable)).into_iter().chain(listed).collect();
    if to.is_empty() {
        let help = "name the version to ask: stable: {subset: NAME} under spec, or to: [{subset: NAME}] here";
        diagnostics.error(&at, "no-stable", "nothing says which version is asked instead", help);
        return None;
    }
    Some(Compiled { policy, on, status_codes, attempts: *attempts, per_try_timeout, to })
}

impl Compiled<'_> {
    /// How often another version is asked, and on what, for a rule with these retries of its own.
    pub(crate) fn retry(
        &self,
        raw: Option<&HttpRetry>,
        own: Option<&RetryPolicy>,
        timeout: Option<Duration>,
        diagnostics: &mut Diagnostics,
    ) -> RetryPolicy {
        let default = RetryPolicy::mesh_default();
        let is_said = raw.and_then(|raw| raw.attempts).is_some_and(|attempts| attempts > 0);
        let retries = self.attempts.or_else(|| own.filter(|_| is_said).map(|own| own.retries)).unwrap_or(1);
        let mut on = self.on.clone();
        let mut status_codes = self.status_codes.clone();
        if let Some(own) = own {
            own.on.iter().for_each(|condition| retries::push_once(&mut on, *condition));
            own.status_codes.iter().for_each(|code| retries::push_once(&mut status_codes, *code));
        }
        let per_try_timeout = self.per_try_timeout.or_else(|| own.and_then(|own| own.per_try_timeout));
        if let (None, Some(timeout)) = (per_try_timeout, timeout) {
            let object = At::object(&self.policy.meta.reference);
            let message = format!(
                "a version that does not answer takes all of the rule's timeout of {timeout:?}, and nobody else is asked"
            );
            let help = "limit each attempt: fallback.perTryTimeout, or retries.perTryTimeout of the rule";
            let at = object.field("spec");
            diagnostics.note(&at.field("fallback").field("perTryTimeout"), "no-time-left", message, help);
        }
        let own = own.unwrap_or(&default);
        RetryPolicy {
            retries,
            on,
            status_codes,
            per_try_timeout,
            avoid_previous_hosts: own.avoid_previous_hosts,
            host_selection_attempts: own.host_selection_attempts,
            backoff: own.backoff,
        }
    }

    /// The fallback of each cluster of a rule that has one, by its name.
    pub(crate) fn clusters(
        &self,
        rule: &HttpRoute,
        client: &Client<'_>,
        diagnostics: &mut Diagnostics,
    ) -> BTreeMap<String, Fallback> {
        let mut found = BTreeMap::new();
        let mut quiet = Diagnostics::default();
        let object = At::object(&self.policy.meta.reference);
        let spec = object.field("spec");
        let list = spec.field("fallback");
        let list = list.field("to");
        for destination in &rule.route {
            // Of the destination itself all has been said.
            let Some(first) = client.cluster(&spec, &destination.destination, &mut quiet) else { continue };
            let then = self.to.iter().find_map(|(place, version)| {
                let at = match place {
                    To::Stable => spec.field("stable"),
                    To::Listed(index) => list.index(*index),
                };
                let then = client.cluster(&at, &version.beside(&destination.destination), diagnostics)?;
                (then != first).then_some(then)
            });
            if let Some(then) = then {
                found.insert(names::fallback_cluster(&first, &then), Fallback { first, then });
            }
        }
        if found.is_empty() {
            let destinations: BTreeSet<_> = rule.route.iter().map(|route| &route.destination.host).collect();
            let message = match destinations.len() {
                0 | 1 => "every destination of a rule is the version that would be asked instead",
                _ => "no destination of a rule has another version to ask",
            };
            let help = "name another version in stable, or in fallback.to";
            diagnostics.warning(&spec.field("fallback"), "no-choice", message, help);
        }
        found
    }
}
