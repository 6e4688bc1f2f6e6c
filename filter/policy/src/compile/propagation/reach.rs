//! Which rules a policy is for, and which destinations get something by it.

use crate::propagate::Rule;
use crate::route::{ActionKind, Policy, RuleId, at};
use istio_config::delegates::Expanded;
use istio_config::diagnostic::{At, Diagnostics};
use istio_config::shunt_policy::attachment;
use istio_config::{Config, Resource, ShuntPolicy, names};
use std::collections::{BTreeMap, BTreeSet};

/// Names a rule as [`RuleId`] does: VirtualService and place, and those of the delegate that it hands over to.
type Place = (String, u32, Option<(String, u32)>);

/// Every rule as it is served, by its place.
pub(super) type Served<'c> = BTreeMap<Place, (&'c Expanded<'c>, usize)>;

pub(super) fn served<'c>(expanded: &'c [Expanded<'c>]) -> Served<'c> {
    let small = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
    let mut served = Served::new();
    for rules in expanded {
        for http in 0..rules.service.spec.http.len() {
            let ((of_root, _), delegate) = rules.block_origin(http, None);
            let delegate =
                delegate.map(|(object, (place, _))| (format!("{}/{}", object.namespace, object.name), small(place)));
            served.insert((rules.service.meta.full_name(), small(of_root), delegate), (rules, http));
        }
    }
    served
}

fn place(rule: &RuleId) -> Option<Place> {
    let delegate = match &rule.delegate {
        Some(delegate) => Some((delegate.owner.to_string(), delegate.http?)),
        None => None,
    };
    Some((rule.owner.to_string(), rule.http?, delegate))
}

/// The rules that a `targetRef` names, by VirtualService and place once delegates are written out; `None`: all there are.
pub(super) type Scope = Option<BTreeSet<(String, usize)>>;

pub(super) fn scope(
    at: &At<'_>,
    policy: &Resource<ShuntPolicy>,
    config: &Config,
    expanded: &[Expanded<'_>],
    diagnostics: &mut Diagnostics,
) -> Scope {
    let target = policy.spec.target_ref.as_ref()?;
    let named = attachment::rules(at, target, &policy.meta, config, expanded, diagnostics).unwrap_or_default();
    Some(named.into_iter().map(|named| (named.root.full_name(), named.http)).collect())
}

/// For each target of the policy the rules that give something to it: those whose `to` has its host, and the hosts of all
/// copies too, which get the same headers.
pub(super) fn by_target(policy: &Policy, rules: &[Rule], scopes: &[Scope], served: &Served<'_>) -> Box<[u64]> {
    let mut masks = vec![0_u64; policy.targets.len()];
    for route in policy.virtual_hosts.iter().flat_map(|host| &host.rules) {
        let Some(ActionKind::Forward(forward)) = at(&policy.actions, route.action).map(|action| &action.kind) else {
            continue;
        };
        let rule = place(&route.id).and_then(|place| served.get(&place));
        let mirrors = rule.map(|(rules, http)| mirrors(rules, *http)).unwrap_or_default();
        let is_in = |scope: &Scope| match (scope, rule) {
            (None, _) => true,
            (Some(named), Some((rules, http))) => named.contains(&(rules.service.meta.full_name(), *http)),
            (Some(_), None) => false,
        };
        let testers = forward.sticky.iter().flat_map(|sticky| &sticky.versions).map(|version| version.target);
        let standing_in = forward.guards.0.iter().map(|guarded| guarded.stable);
        for target in forward.targets.weights().map(|(target, _)| target).chain(testers).chain(standing_in) {
            let host = at(&policy.targets, target).and_then(|target| target.cluster.rsplit('|').next());
            let mask = usize::try_from(target).ok().and_then(|target| masks.get_mut(target));
            let (Some(host), Some(mask)) = (host, mask) else { continue };
            // Whoever is asked where that one fails gets the same headers.
            let asked_instead = forward.fallback.as_ref().and_then(|fallback| fallback.asked_instead(target));
            for (number, (rule, scope)) in (0..).zip(rules.iter().zip(scopes)) {
                let gives = is_in(scope)
                    && rule.to.take(host)
                    && asked_instead.is_none_or(|host| rule.to.take(host))
                    && mirrors.iter().all(|host| rule.to.take(host));
                *mask |= u64::from(gives).checked_shl(number).unwrap_or_default();
            }
        }
    }
    masks.into()
}

/// Hosts that get copies of a rule's requests, in full.
fn mirrors(rules: &Expanded<'_>, http: usize) -> Vec<String> {
    let namespace = rules.service.meta.namespace();
    let rule = rules.service.spec.http.get(http);
    let several = rule.iter().flat_map(|rule| &rule.mirrors).map(|mirror| &mirror.destination);
    let all = several.chain(rule.and_then(|rule| rule.mirror.as_deref()));
    all.map(|destination| names::full_host(&destination.host, namespace)).collect()
}

/// A rule whose copies go elsewhere gets nothing: that is to be said.
pub(super) fn report_mirrors(
    rule: &Rule,
    scope: &Scope,
    served: &Served<'_>,
    policy: &Resource<ShuntPolicy>,
    diagnostics: &mut Diagnostics,
) {
    for (rules, http) in served.values() {
        let meta = &rules.service.meta;
        let is_in = scope.as_ref().is_none_or(|named| named.contains(&(meta.full_name(), *http)));
        let Some(raw) = rules.service.spec.http.get(*http).filter(|_| is_in) else { continue };
        let hosts = raw.route.iter().map(|route| names::full_host(&route.destination.host, meta.namespace()));
        if !hosts.into_iter().any(|host| rule.to.take(&host)) {
            continue;
        }
        if let Some(host) = mirrors(rules, *http).into_iter().find(|host| !rule.to.take(host)) {
            let (object, place) = rules.rule_origin(*http);
            let object = At::object(object);
            let spec = object.field("spec");
            let list = spec.field("http");
            let at = list.index(place).inheriting(rules.inherited(*http));
            let message = format!(
                "copies go to `{host}`, which is not in `to` of ShuntPolicy {}: no request of this rule gets its headers",
                policy.meta.full_name()
            );
            let field = if raw.mirror.is_some() { "mirror" } else { "mirrors" };
            diagnostics.warning(
                &at.field(field),
                "mirror-without-context",
                message,
                "add the host to `to`, or accept that",
            );
        }
    }
}
