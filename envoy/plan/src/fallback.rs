//! `ShuntPolicy.fallback`: which version is asked where another fails, and on what.
//!
//! A request that may be asked again goes to a [`Fallback`] instead of its cluster, under a profile whose attempts leave the
//! cluster that failed ([`Profile::falls_back`](crate::Profile::falls_back)). The conditions of the rule's own retries hold there too: Envoy has one list
//! for each request, and whatever fails is asked of the other version.

use crate::destinations::Client;
use crate::{Fallback, RetryOn, RetryPolicy, durations, retries};
use istio_config::delegates::Expanded;
use istio_config::diagnostic::At;
use istio_config::shunt_policy::attachment::{Attached, Holder, Part, RulePlace};
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
        let mut by_rule = BTreeMap::new();
        for Holder { policy, named, held } in Holder::find(Part::Fallback, config, expanded, diagnostics) {
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
        if per_try_timeout.is_none() {
            let object = At::object(&self.policy.meta.reference);
            let message = match timeout {
                Some(timeout) => format!("takes all of the rule's timeout of {timeout:?}"),
                None => "keeps its requests for ever, as the rule has no timeout".to_owned(),
            };
            let message = format!("a version that does not answer {message}, and nobody else is asked");
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

#[cfg(test)]
mod tests {
    use crate::testing::{build, check_findings, rules};
    use crate::{Fallback, Plan, RetryOn};
    use std::time::Duration;

    const A: &str = "a.default.svc.cluster.local";

    /// One rule for subsets `v1` and `v2` of `a`, with a policy.
    fn text(rule: &str, policy: &str) -> String {
        let subsets = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: {host: a, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}\n";
        let policy = format!(
            "---\napiVersion: shunt.dev/v1alpha1\nkind: ShuntPolicy\nmetadata: {{name: p}}\nspec: {{targetRef: {{name: v}}, {policy}}}\n"
        );
        rules(&[rule]) + subsets + &policy
    }

    const BOTH: &str =
        "route: [{destination: {host: a, subset: v1}, weight: 9}, {destination: {host: a, subset: v2}, weight: 1}]";

    fn subset(name: &str) -> String {
        format!("outbound|80|{name}|{A}")
    }

    fn fallbacks(plan: &Plan) -> Vec<(String, String)> {
        plan.fallbacks.values().map(|Fallback { first, then }| (first.clone(), then.clone())).collect()
    }

    #[test]
    fn every_destination_but_the_one_that_stands_in_has_a_fallback() {
        let (plan, bindings, findings) =
            build(&text(&format!("{{{BOTH}}}"), "stable: {subset: v1}, fallback: {perTryTimeout: 1s}"));
        assert_eq!(findings, Vec::<String>::new());
        assert_eq!(fallbacks(&plan), [(subset("v2"), subset("v1"))]);
        let bound = bindings[0].fallback.as_ref().unwrap();
        let name = format!("fallback|{}|{}", subset("v2"), subset("v1"));
        assert_eq!(bound.clusters.iter().collect::<Vec<_>>(), [(&subset("v2"), &name)]);
        assert_eq!(
            (bindings[0].profiles.as_slice(), bound.profiles.as_slice()),
            (&[String::new()][..], &["p1".to_owned()][..])
        );
        assert!(plan.profiles[1].falls_back && !plan.profiles[0].falls_back);
        assert!(plan.uses.contains(&("p1".to_owned(), name)));
    }

    #[test]
    fn of_a_list_the_first_other_one_is_asked() {
        let (plan, ..) = build(&text(&format!("{{{BOTH}}}"), "fallback: {to: [{subset: v1}, {subset: v2}]}"));
        assert_eq!(fallbacks(&plan), [(subset("v1"), subset("v2")), (subset("v2"), subset("v1"))]);
    }

    #[test]
    fn another_service_may_stand_in() {
        let (plan, ..) =
            build(&text(&format!("{{{BOTH}}}"), "stable: {host: two.example.com, port: {number: 9090}}, fallback: {}"));
        let to_two = |version: &str| (subset(version), "outbound|9090||two.example.com".to_owned());
        assert_eq!(fallbacks(&plan), [to_two("v1"), to_two("v2")]);
    }

    /// Attempts after the first and conditions of the requests that fall back, for a rule with these fields.
    fn retry(rule: &str, fallback: &str) -> (u32, String, Option<Duration>) {
        let text = text(&format!("{{{BOTH}{rule}}}"), &format!("stable: {{subset: v1}}, fallback: {{{fallback}}}"));
        let (plan, ..) = build(&text);
        let profile = plan.profiles.into_iter().find(|profile| profile.falls_back).unwrap();
        let retry = profile.retry.unwrap();
        let on = retry.on.iter().map(|condition| RetryOn::name(*condition)).collect::<Vec<_>>().join(",");
        (retry.retries, on, retry.per_try_timeout)
    }

    #[test]
    fn once_on_everything_unless_the_rule_or_the_policy_says_otherwise() {
        let mesh = "unavailable,cancelled,retriable-status-codes";
        let all = format!("5xx,reset,connect-failure,refused-stream,{mesh}");
        assert_eq!(retry("", ""), (1, all, None));
        assert_eq!(retry(", retries: {attempts: 0}", "").1, "5xx,reset,connect-failure,refused-stream");
        let own = ", retries: {attempts: 3, retryOn: 'reset,409', perTryTimeout: 2s}";
        let (attempts, on, per_try) = retry(own, "retryOn: '404'");
        assert_eq!((attempts, on.as_str(), per_try), (3, "retriable-status-codes,reset", Some(Duration::from_secs(2))));
        let (attempts, _, per_try) = retry(own, "attempts: 1, perTryTimeout: 500ms");
        assert_eq!((attempts, per_try), (1, Some(Duration::from_millis(500))));
    }

    #[test]
    fn a_policy_for_one_rule_goes_before_one_for_all() {
        let named = format!("{{name: one, {BOTH}}}");
        let all = text(&named, "stable: {subset: v1}, fallback: {attempts: 5, perTryTimeout: 1s}");
        let one = "---\napiVersion: shunt.dev/v1alpha1\nkind: ShuntPolicy\nmetadata: {name: q}\nspec: {targetRef: {name: v, sectionName: one}, stable: {subset: v2}, fallback: {attempts: 2, perTryTimeout: 1s}}\n";
        for text in
            [format!("{all}{one}"), all.replacen("---\napiVersion: shunt", &format!("{one}---\napiVersion: shunt"), 1)]
        {
            let (plan, _, findings) = build(&text);
            assert_eq!(findings, Vec::<String>::new());
            assert_eq!(fallbacks(&plan), [(subset("v1"), subset("v2"))]);
        }
    }

    #[test]
    fn who_would_never_be_left_is_told_of() {
        let limited = format!("{{{BOTH}, timeout: 3s}}");
        for rule in [format!("{{{BOTH}}}"), limited] {
            let text = text(&rule, "stable: {subset: v1}, fallback: {}");
            check_findings(&text, &["ShuntPolicy spec.fallback.perTryTimeout: note[no-time-left]"]);
        }
        let own = format!("{{{BOTH}, retries: {{attempts: 1, perTryTimeout: 1s, retryOn: reset}}}}");
        check_findings(&text(&own, "stable: {subset: v1}, fallback: {}"), &[]);
    }

    #[test]
    fn what_leads_nowhere_is_told_at_the_policy() {
        let nowhere = text(&format!("{{{BOTH}}}"), "stable: {subset: v9}, fallback: {perTryTimeout: 1s}");
        check_findings(&nowhere, &["ShuntPolicy spec.stable.subset: warning[IST0101]"]);
        let itself = text(
            "{route: [{destination: {host: a, subset: v1}}]}",
            "stable: {subset: v1}, fallback: {perTryTimeout: 1s}",
        );
        check_findings(&itself, &["ShuntPolicy spec.fallback: warning[no-choice]"]);
        check_findings(&text(&format!("{{{BOTH}}}"), "fallback: {}"), &["ShuntPolicy spec.fallback: error[no-stable]"]);
    }
}
