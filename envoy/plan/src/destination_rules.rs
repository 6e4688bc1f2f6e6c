//! DestinationRules: which of them holds for a service, and what several of them say together.
//!
//! A sidecar looks for a rule in its own namespace, then in the service's, then in the root namespace; the first that
//! has any rule for the host decides. There the most specific host pattern wins, and rules with that same pattern are
//! merged as far as they are for the same ([`merging`]): oldest first, subsets strung together, the first policy and the first
//! of equal subset names kept (istio `model/push_context.go`, `destinationRule`; `model/destination_rule.go`,
//! `mergeDestinationRule`).

use crate::merging::{self, Scope};
use crate::service_entries::{Service, Services};
use crate::traffic_policy::TrafficPolicy;
use crate::{Caller, syntax};
use istio_config::destination_rule::{Subset, WorkloadSelector};
use istio_config::diagnostic::At;
use istio_config::{Config, DestinationRule, Diagnostics, ObjectMeta, names};
use std::collections::{BTreeMap, BTreeSet};

/// Namespace of mesh-wide rules.
const ROOT_NAMESPACE: &str = "istio-system";

/// What holds for each service; services without a rule have no entry.
pub(crate) struct DestinationRules<'a> {
    by_host: BTreeMap<String, Merged<'a>>,
    /// All of them, oldest first.
    rules: Vec<Rule<'a>>,
    /// For whom they were read.
    caller: Caller,
}

/// What all rules of one service say together.
#[derive(Default)]
pub(crate) struct Merged<'a> {
    /// Policy of the service without a subset, for all ports.
    pub(crate) policy: TrafficPolicy,
    /// Each name once.
    pub(crate) subsets: Vec<MergedSubset<'a>>,
}

/// One subset.
pub(crate) struct MergedSubset<'a> {
    pub(crate) name: &'a str,
    /// An endpoint that has all of these belongs to the subset.
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// What it says itself, for all ports; over the host's it goes port by port.
    pub(crate) policy: TrafficPolicy,
}

impl MergedSubset<'_> {
    /// Whether an endpoint with these labels belongs to the subset.
    pub(crate) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// One rule, checked.
struct Rule<'a> {
    meta: &'a ObjectMeta,
    host: String,
    scope: Scope,
    policy: Option<TrafficPolicy>,
    /// With their index in the rule.
    subsets: Vec<(usize, &'a Subset, TrafficPolicy)>,
}

impl<'a> DestinationRules<'a> {
    /// Reads every rule and finds out which hold for which service.
    pub(crate) fn collect(
        config: &'a Config,
        services: &Services<'_>,
        caller: &Caller,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut rules: Vec<Rule<'a>> = Vec::new();
        for resource in &config.destination_rules {
            rules.extend(Rule::compile(&resource.meta, &resource.spec, caller, diagnostics));
        }
        // Istio's order of age; objects without a time stamp are equally old, and then names decide.
        rules.sort_by_key(|rule| (rule.meta.creation_timestamp.as_str(), rule.meta.name(), rule.meta.namespace()));

        let mut merger = Merger::default();
        let mut by_host = BTreeMap::new();
        for (host, service) in services {
            let holding = holding(&rules, host, service, caller);
            if !holding.is_empty() {
                by_host.insert(
                    host.clone(),
                    merger.merge(&holding, service, !config.endpoints_unknown.contains(host), diagnostics),
                );
            }
        }
        for rule in &rules {
            report_if_useless(rule, services, caller, diagnostics);
        }
        Self { by_host, rules, caller: caller.clone() }
    }

    /// What holds for a service, by its full host name.
    pub(crate) fn get(&self, host: &str) -> Option<&Merged<'a>> {
        self.by_host.get(host)
    }

    /// The policies that hold for a host, by its full name, and for its subset. In a mesh there are services that no file
    /// tells of: their rules are found by the host alone.
    pub(crate) fn policies(&self, host: &str, subset: &str) -> (Option<&TrafficPolicy>, Option<&TrafficPolicy>) {
        if let Some(merged) = self.get(host) {
            let of_subset = merged.subsets.iter().find(|known| known.name == subset);
            return (Some(&merged.policy), of_subset.map(|subset| &subset.policy));
        }
        let unknown = Service { namespace: &self.caller.namespace, ports: BTreeMap::new() };
        let holding = holding(&self.rules, host, &unknown, &self.caller);
        let policy = holding.iter().find_map(|rule| rule.policy.as_ref());
        let mut subsets = holding.iter().flat_map(|rule| &rule.subsets);
        (policy, subsets.find(|(_, known, _)| known.name == subset).map(|(_, _, policy)| policy))
    }

    /// Whether a service has this subset.
    pub(crate) fn has_subset(&self, host: &str, name: &str) -> bool {
        self.get(host).is_some_and(|merged| merged.subsets.iter().any(|subset| subset.name == name))
    }
}

impl<'a> Rule<'a> {
    fn compile(
        meta: &'a ObjectMeta,
        raw: &'a DestinationRule,
        caller: &Caller,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let DestinationRule { host, traffic_policy, subsets, export_to, workload_selector } = raw;
        let object = At::object(&meta.reference);
        let spec = object.field("spec");
        let mut holds = true;
        if !syntax::is_host(host) {
            let message = if host.is_empty() { "no host".to_owned() } else { format!("`{host}` is no host name") };
            diagnostics.error(&spec.field("host"), "bad-host", message, "write the name of a service");
            holds = false;
        }
        let selector = workload_selector.as_ref().map(|WorkloadSelector { match_labels }| match_labels.clone());
        if caller.labels.is_empty() && selector.as_ref().is_some_and(|labels| !labels.is_empty()) {
            let message = "nothing tells the labels of the proxy, so the rule does not hold for it";
            diagnostics.warning(&spec.field("workloadSelector"), "no-labels", message, "say them: `--labels`");
        }
        let export_to = match selector {
            Some(_) => BTreeSet::from([".".to_owned()]),
            None => export_to.iter().cloned().collect(),
        };
        let scope = Scope { export_to, selector };
        let policy =
            traffic_policy.as_ref().map(|raw| TrafficPolicy::compile(&spec.field("trafficPolicy"), raw, diagnostics));
        let subsets = compile_subsets(&spec.field("subsets"), subsets, diagnostics);
        holds.then(|| Self { meta, host: names::full_host(host, meta.namespace()), scope, policy, subsets })
    }
}

fn compile_subsets<'a>(
    at: &At<'_>,
    raw: &'a [Subset],
    diagnostics: &mut Diagnostics,
) -> Vec<(usize, &'a Subset, TrafficPolicy)> {
    let mut seen = BTreeSet::new();
    let mut subsets = Vec::new();
    for (index, subset) in raw.iter().enumerate() {
        let at = at.index(index);
        let Subset { name, labels: _, traffic_policy } = subset;
        let policy =
            traffic_policy.as_ref().map(|raw| TrafficPolicy::compile(&at.field("trafficPolicy"), raw, diagnostics));
        if !syntax::is_label(name) {
            let message = format!("`{name}` cannot be the name of a subset");
            diagnostics.error(&at.field("name"), "bad-subset-name", message, "use letters, digits and `-`, at most 63");
        } else if !seen.insert(name) {
            let message = format!("two subsets are called `{name}`");
            diagnostics.error(&at.field("name"), "duplicate-subset", message, "give each a name of its own");
        } else {
            subsets.push((index, subset, policy.unwrap_or_default()));
        }
    }
    subsets
}

/// The namespaces in which rules for a service are looked for, in that order. That of a host inside the cluster counts
/// even where its ServiceEntry was written elsewhere: there the service itself would be.
fn namespaces<'s>(host: &'s str, service: &Service<'s>, caller: &'s Caller) -> [Option<&'s str>; 4] {
    let suffix = format!(".svc.{}", names::CLUSTER_DOMAIN);
    let of_host = host.strip_suffix(&suffix).and_then(|short| short.split_once('.')).map(|(_, namespace)| namespace);
    // For callers in the root namespace its rules are no more than everybody's.
    let own = Some(caller.namespace.as_str()).filter(|own| *own != ROOT_NAMESPACE);
    [own, Some(service.namespace), of_host, Some(ROOT_NAMESPACE)]
}

/// The rules that hold for a service, oldest first.
fn holding<'r, 'a>(rules: &'r [Rule<'a>], host: &str, service: &Service<'_>, caller: &Caller) -> Vec<&'r Rule<'a>> {
    for namespace in namespaces(host, service, caller).into_iter().flatten() {
        let is_own = namespace == caller.namespace;
        let is_here = |rule: &&Rule<'a>| {
            let counts = match is_own {
                true => rule.scope.is_seen_from(namespace, namespace),
                false => !rule.scope.is_private(namespace),
            };
            counts && rule.meta.namespace() == namespace && names::covers(&rule.host, host)
        };
        let mut here: Vec<&Rule<'a>> = rules.iter().filter(is_here).collect();
        // A plain name is more specific than any wildcard; among wildcards the longest is.
        let most = here.iter().map(|rule| specificity(&rule.host)).max();
        here.retain(|rule| Some(specificity(&rule.host)) == most);
        here.retain(|rule| rule.scope.is_seen_from(&caller.namespace, namespace));
        // A namespace with rules decides, also where none of them is for this caller.
        if !here.is_empty() {
            return merging::holding(&here, |rule| rule.scope.clone(), &caller.labels);
        }
    }
    Vec::new()
}

fn specificity(pattern: &str) -> (bool, usize) {
    (!pattern.starts_with('*'), pattern.len())
}

/// Merges rules and reports, once for each rule, what is lost on the way.
#[derive(Default)]
struct Merger {
    reported: BTreeSet<(usize, String)>,
}

impl Merger {
    /// `endpoints_known`: a subset that selects none is a fault.
    fn merge<'a>(
        &mut self,
        rules: &[&Rule<'a>],
        service: &Service<'_>,
        endpoints_known: bool,
        diagnostics: &mut Diagnostics,
    ) -> Merged<'a> {
        let first_with_policy = rules.iter().find(|rule| rule.policy.is_some());
        let policy = first_with_policy.and_then(|rule| rule.policy.clone()).unwrap_or_default();
        let mut merged = Merged { policy, subsets: Vec::new() };
        for rule in rules {
            let object = At::object(&rule.meta.reference);
            let spec = object.field("spec");
            let mut report = |at: &At<'_>, code, message: String, help: &str| {
                if self.reported.insert((rule.meta.reference.ordinal, format!("{code} {}", at.path))) {
                    diagnostics.warning(at, code, message, help);
                }
            };
            if let Some(first) =
                first_with_policy.filter(|first| rule.policy.is_some() && !std::ptr::eq(**first, *rule))
            {
                let message =
                    format!("without effect: {} has a policy for the same host already", first.meta.reference);
                report(&spec.field("trafficPolicy"), "policy-ignored", message, "keep one of them");
            }
            let list = spec.field("subsets");
            for (index, subset, policy) in &rule.subsets {
                let at = list.index(*index);
                if merged.subsets.iter().any(|known| known.name == subset.name) {
                    let message =
                        format!("without effect: an older rule for the same host has a subset `{}`", subset.name);
                    report(&at.field("name"), "subset-ignored", message, "give each a name of its own");
                    continue;
                }
                let subset = MergedSubset { name: &subset.name, labels: &subset.labels, policy: policy.clone() };
                let mut endpoints = service.ports.values().flat_map(|port| &port.endpoints);
                if endpoints_known
                    && !service.ports.is_empty()
                    && !endpoints.any(|endpoint| subset.selects(&endpoint.labels))
                {
                    let message =
                        format!("no endpoint has the labels of subset `{}`: its requests get 503", subset.name);
                    let help = "compare with `endpoints[].labels` of the ServiceEntry";
                    report(&at.field("labels"), "IST0173", message, help);
                }
                merged.subsets.push(subset);
            }
        }
        merged
    }
}

fn report_if_useless(rule: &Rule<'_>, services: &Services<'_>, caller: &Caller, diagnostics: &mut Diagnostics) {
    let object = At::object(&rule.meta.reference);
    let mut covered = services.iter().filter(|(host, _)| names::covers(&rule.host, host)).peekable();
    if covered.peek().is_none() {
        diagnostics.warning(
            &object.field("spec").field("host"),
            "IST0174",
            format!("there is no service `{}`: the rule has no effect", rule.host),
            "add a ServiceEntry with this host, or correct the name; names without a dot get the rule's namespace",
        );
    } else if !covered.any(|(host, service)| namespaces(host, service, caller).contains(&Some(rule.meta.namespace()))) {
        diagnostics.warning(
            &object.field("metadata").field("namespace"),
            "rule-out-of-reach",
            "the rule stands neither in the proxy's namespace nor in the service's nor in the root namespace: it has no effect",
            "move it into the namespace of the service",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{SERVICES, build, build_for, check_findings};
    use crate::{Caller, LoadBalancing};

    /// Several rules `(metadata, spec)` beside the services of [`SERVICES`].
    fn config(rules: &[(&str, &str)]) -> String {
        let documents = rules.iter().map(|(metadata, spec)| {
            format!("---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{{metadata}}}\nspec: {{{spec}}}\n")
        });
        std::iter::once(SERVICES.to_owned()).chain(documents).collect()
    }

    /// Subset clusters of `a` with their number of endpoints and balancing.
    fn check(rules: &[(&str, &str)], expected: &[&str]) {
        let (plan, _, _) = build(&config(rules));
        let of_a = plan.clusters.values().filter(|cluster| cluster.name.ends_with("|a.default.svc.cluster.local"));
        let mut found: Vec<String> = of_a
            .map(|cluster| {
                let subset = cluster.name.split('|').nth(2).unwrap();
                format!("{subset}: {} {:?}", cluster.endpoints.len(), cluster.load_balancing)
            })
            .collect();
        found.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_subset_has_the_endpoints_with_all_its_labels() {
        check(
            &[(
                "name: d",
                "host: a, subsets: [{name: all}, {name: v1, labels: {version: v1}}, {name: v2-blue, labels: {version: v2, color: blue}}]",
            )],
            &[": 3 LeastRequest", "all: 3 LeastRequest", "v1: 1 LeastRequest", "v2-blue: 1 LeastRequest"],
        );
    }

    #[test]
    fn a_subset_without_endpoints_exists_and_is_a_finding() {
        let rules = [("name: d", "host: a, subsets: [{name: v9, labels: {version: v9}}]")];
        check(&rules, &[": 3 LeastRequest", "v9: 0 LeastRequest"]);
        check_findings(&config(&rules), &["DestinationRule spec.subsets[0].labels: warning[IST0173]"]);
    }

    #[test]
    fn rules_for_one_host_are_merged_oldest_first() {
        let rules = [
            (
                "name: b",
                "host: a.default.svc.cluster.local, trafficPolicy: {loadBalancer: {simple: RANDOM}}, subsets: [{name: v1, labels: {version: v2}}, {name: v2, labels: {version: v2}}]",
            ),
            (
                "name: a",
                "host: a, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}, subsets: [{name: v1, labels: {version: v1}}]",
            ),
        ];
        check(&rules, &[": 3 RoundRobin", "v1: 1 RoundRobin", "v2: 2 RoundRobin"]);
        check_findings(
            &config(&rules),
            &[
                "DestinationRule spec.trafficPolicy: warning[policy-ignored]",
                "DestinationRule spec.subsets[0].name: warning[subset-ignored]",
            ],
        );
        let mut older_first = rules;
        older_first[0].0 = "name: b, creationTimestamp: '2026-01-01T00:00:00Z'";
        older_first[1].0 = "name: a, creationTimestamp: '2026-01-02T00:00:00Z'";
        check(&older_first, &[": 3 Random", "v1: 2 Random", "v2: 2 Random"]);
    }

    #[test]
    fn the_most_specific_host_decides_alone() {
        check(
            &[
                (
                    "name: a",
                    "host: '*.svc.cluster.local', trafficPolicy: {loadBalancer: {simple: RANDOM}}, subsets: [{name: x}]",
                ),
                (
                    "name: b",
                    "host: '*.default.svc.cluster.local', trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}",
                ),
            ],
            &[": 3 RoundRobin"],
        );
        check(
            &[
                ("name: a", "host: '*', trafficPolicy: {loadBalancer: {simple: RANDOM}}"),
                ("name: b", "host: a, subsets: [{name: x}]"),
            ],
            &[": 3 LeastRequest", "x: 3 LeastRequest"],
        );
    }

    #[test]
    fn the_own_namespace_goes_before_the_root() {
        let host = "host: a.default.svc.cluster.local, trafficPolicy: {loadBalancer: {simple: RANDOM}}";
        check(&[("name: r, namespace: istio-system", host)], &[": 3 Random"]);
        check(&[("name: r, namespace: istio-system", host), ("name: o", "host: a")], &[": 3 LeastRequest"]);
        check(&[("name: r, namespace: elsewhere", host)], &[": 3 LeastRequest"]);
        check_findings(
            &config(&[("name: r, namespace: elsewhere", host)]),
            &["DestinationRule metadata.namespace: warning[rule-out-of-reach]"],
        );
    }

    /// Balancing of `a` for a caller in this namespace with the label `app: x`.
    fn check_for(namespace: &str, rules: &[(&str, &str)], expected: LoadBalancing) {
        let labels = [("app".to_owned(), "x".to_owned())].into_iter().collect();
        let caller = Caller { namespace: namespace.to_owned(), labels, ..Caller::default() };
        let plan = build_for(&config(rules), &caller);
        let balancing = plan.clusters["outbound|80||a.default.svc.cluster.local"].load_balancing;
        assert_eq!(balancing, expected, "{namespace}: {rules:?}");
    }

    #[test]
    fn who_calls_decides_which_rules_hold() {
        let host = |more: &str, simple: &str| {
            format!("host: a.default.svc.cluster.local, {more}trafficPolicy: {{loadBalancer: {{simple: {simple}}}}}")
        };
        let (open, random) = (host("", "ROUND_ROBIN"), host("", "RANDOM"));
        let rules = [("name: a, namespace: default", open.as_str()), ("name: b, namespace: mine", random.as_str())];
        check_for("mine", &rules, LoadBalancing::Random);
        check_for("default", &rules, LoadBalancing::RoundRobin);
        check_for("other", &rules, LoadBalancing::RoundRobin);
        check_for("istio-system", &rules, LoadBalancing::RoundRobin);
        let private = host("exportTo: [.], ", "RANDOM");
        let rules = [("name: a, namespace: default", private.as_str())];
        check_for("default", &rules, LoadBalancing::Random);
        check_for("other", &rules, LoadBalancing::LeastRequest);
        let for_one = host("exportTo: [mine], ", "RANDOM");
        let rules = [("name: a, namespace: default", for_one.as_str())];
        check_for("mine", &rules, LoadBalancing::Random);
        check_for("default", &rules, LoadBalancing::LeastRequest);
        let selected = host("workloadSelector: {matchLabels: {app: x}}, ", "RANDOM");
        let rules =
            [("name: a, namespace: default", open.as_str()), ("name: b, namespace: default", selected.as_str())];
        check_for("default", &rules, LoadBalancing::Random);
        check_for("other", &rules, LoadBalancing::RoundRobin);
    }

    #[test]
    fn a_rule_in_the_namespace_of_a_cluster_host_holds() {
        let rule = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d, namespace: prod}\nspec: {host: web, subsets: [{name: v1}]}\n";
        let service = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: s}\nspec: {hosts: [web.prod.svc.cluster.local], resolution: STATIC, ports: [{number: 80, name: http}], endpoints: [{address: 10.0.0.1}]}\n";
        check_findings(&format!("{service}{rule}"), &[]);
        assert!(
            build(&format!("{service}{rule}")).0.clusters.contains_key("outbound|80|v1|web.prod.svc.cluster.local")
        );
    }

    #[test]
    fn a_rule_for_no_service_is_a_finding() {
        check_findings(&config(&[("name: d", "host: nowhere")]), &["DestinationRule spec.host: warning[IST0174]"]);
        check_findings(
            &config(&[("name: d", "host: '*.nowhere.com'")]),
            &["DestinationRule spec.host: warning[IST0174]"],
        );
    }

    #[test]
    fn what_istioctl_refuses_is_an_error() {
        let refuse = |spec: &str, expected: &[&str]| {
            let expected: Vec<String> =
                expected.iter().map(|finding| format!("DestinationRule spec.{finding}")).collect();
            check_findings(&config(&[("name: d", spec)]), &expected.iter().map(String::as_str).collect::<Vec<_>>());
        };
        refuse("host: ''", &["host: error[bad-host]"]);
        refuse("host: a_b", &["host: error[bad-host]"]);
        refuse(
            "host: a, subsets: [{name: ''}, {name: v_1}]",
            &["subsets[0].name: error[bad-subset-name]", "subsets[1].name: error[bad-subset-name]"],
        );
        refuse("host: a, subsets: [{name: v1}, {name: v1}]", &["subsets[1].name: error[duplicate-subset]"]);
        refuse("host: a, subsets: [{name: v1, trafficPolicy: {}}]", &["subsets[0].trafficPolicy: error[empty-policy]"]);
    }

    #[test]
    fn fields_without_effect_are_named() {
        check_findings(
            &config(&[(
                "name: d",
                "host: a, exportTo: [.], workloadSelector: {matchLabels: {app: b}}, subsets: [{name: x}]",
            )]),
            &["DestinationRule spec.workloadSelector: warning[no-labels]"],
        );
    }
}
