//! `ValidateDestinationRule`, as far as nobody else looks.

use super::shared::{self, Exporter};
use super::{names, traffic_policy};
use istio_config::diagnostic::At;
use istio_config::{DestinationRule, Diagnostics, Resource};

pub(super) fn check(resource: &Resource<DestinationRule>, diagnostics: &mut Diagnostics) {
    let DestinationRule { host, traffic_policy, subsets, export_to, workload_selector } = &resource.spec;
    let object = At::object(&resource.meta.reference);
    let spec = object.field("spec");
    // What is no host for anybody, the plan reports.
    if host.parse::<std::net::IpAddr>().is_ok() && !names::is_wildcard_domain(host) {
        let message = format!("`{host}` is no host name");
        diagnostics.error(&spec.field("host"), "bad-host", message, "write the name of a service");
    }
    if let Some(policy) = traffic_policy {
        traffic_policy::check(&spec.field("trafficPolicy"), policy, diagnostics);
    }
    let list = spec.field("subsets");
    for (index, subset) in subsets.iter().enumerate() {
        let at = list.index(index);
        shared::labels(&at.field("labels"), &subset.labels, diagnostics);
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy::check(&at.field("trafficPolicy"), policy, diagnostics);
        }
    }
    let exporter = if workload_selector.is_some() { Exporter::OfWorkloads } else { Exporter::Rules };
    shared::export_to(&spec.field("exportTo"), resource.meta.namespace(), export_to, exporter, diagnostics);
    if let Some(selector) = workload_selector {
        let at = spec.field("workloadSelector");
        shared::selector(&at.field("matchLabels"), &selector.match_labels, diagnostics);
    }
}

#[cfg(test)]
mod tests {
    use crate::istioctl::testing;

    fn check(fields: &str, expected: &[&str]) {
        testing::check("DestinationRule", &format!(r#"{{"host": "a", {fields}}}"#), expected);
    }

    #[test]
    fn labels_and_namespaces_have_names() {
        check(
            r#""subsets": [{"name": "a", "labels": {"version": "v 1", "a b": "c"}}]"#,
            &["spec.subsets[0].labels[a b][bad-label]", "spec.subsets[0].labels[version][bad-label]"],
        );
        check(r#""exportTo": ["*", "a"]"#, &["spec.exportTo[bad-export-to]"]);
        check(
            r#""exportTo": ["a"], "workloadSelector": {"matchLabels": {"a": "*"}}"#,
            &["spec.exportTo[bad-export-to]", "spec.workloadSelector.matchLabels[a][bad-label]"],
        );
        check(r#""exportTo": ["."], "workloadSelector": {"matchLabels": {"a": "b"}}"#, &[]);
    }
}
