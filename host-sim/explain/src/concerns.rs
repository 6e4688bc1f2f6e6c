//! Which findings about a set of manifests bear on one answer: those about the rule that decides and the rules before it, and
//! about what it leads to. The same hundred lines before each answer are read by nobody.

use crate::Answer;
use crate::carried::Surroundings;
use istio_config::{Diagnostic, ObjectRef, names};
use std::collections::BTreeMap;
use traffic_policy::explain::RuleName;

impl Surroundings {
    /// Whether a finding bears on this answer.
    pub fn concerns(&self, answer: &Answer, finding: &Diagnostic) -> bool {
        let Ok(explanation) = &answer.explanation else { return false };
        let mut asked: BTreeMap<&str, u32> = BTreeMap::new();
        let tried = explanation.tried.iter().map(|tried| &tried.rule);
        let left_out = explanation.left_out.iter().map(|left_out| &left_out.rule);
        explanation.rule.iter().chain(tried).chain(left_out).for_each(|rule| add(&mut asked, rule));
        let object = &finding.object;
        let name = format!("{}/{}", object.namespace, object.name);
        let clusters = answer.carried.clusters.keys().filter_map(|cluster| cluster.split('|').nth(3));
        let hosts: Vec<&str> = clusters.chain(explanation.domain.as_deref()).collect();
        match &*object.kind {
            "VirtualService" => {
                let last = asked.get(name.as_str());
                let is_before = last.is_some_and(|last| rule_of(&finding.path).is_none_or(|rule| rule <= *last));
                is_before || answer.carried.elsewhere.iter().any(|elsewhere| elsewhere.owner == name)
            }
            "DestinationRule" => self.config.destination_rules.iter().any(|rule| {
                let own = names::full_host(&rule.spec.host, rule.meta.namespace());
                is_it(&rule.meta.reference, object) && hosts.iter().any(|host| names::covers(&own, host))
            }),
            "ServiceEntry" => self.config.service_entries.iter().any(|entry| {
                let mut own = entry.spec.hosts.iter().map(|host| names::full_host(host, entry.meta.namespace()));
                is_it(&entry.meta.reference, object) && own.any(|own| hosts.iter().any(|host| own == **host))
            }),
            "Gateway" => self.config.virtual_services.iter().any(|service| {
                let namespace = service.meta.namespace();
                let mut bound = service.spec.gateways.iter().map(|gateway| match gateway.contains('/') {
                    true => gateway.clone(),
                    false => format!("{namespace}/{gateway}"),
                });
                asked.contains_key(service.meta.full_name().as_str()) && bound.any(|bound| bound == name)
            }),
            "Service" => hosts.contains(&names::full_host(&object.name, &object.namespace).as_str()),
            _ => false,
        }
    }
}

/// The last rule of each VirtualService that was looked at, a delegate's too.
fn add<'r>(asked: &mut BTreeMap<&'r str, u32>, rule: &'r RuleName<'_>) {
    let http = rule.http.unwrap_or_default();
    asked.entry(&*rule.owner).and_modify(|last| *last = http.max(*last)).or_insert(http);
    if let Some(delegate) = &rule.delegate {
        add(asked, delegate);
    }
}

/// The index in `spec.http[1].route`.
fn rule_of(path: &str) -> Option<u32> {
    path.strip_prefix("spec.http[")?.split_once(']')?.0.parse().ok()
}

fn is_it(one: &ObjectRef, other: &ObjectRef) -> bool {
    one.kind == other.kind && one.namespace == other.namespace && one.name == other.name
}
