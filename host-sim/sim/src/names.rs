//! What clusters, endpoints and services are called.

use std::collections::BTreeMap;

use envoy_plan::PASSTHROUGH_CLUSTER;
use upstream::Endpoint;

/// Whether the request has named the endpoint itself.
pub(crate) fn is_outside(endpoint: &Endpoint) -> bool {
    endpoint.cluster() == PASSTHROUGH_CLUSTER
}

/// The service an endpoint belongs to.
pub(crate) fn host(endpoint: &Endpoint) -> &str {
    if is_outside(endpoint) {
        return endpoint.address();
    }
    host_of(endpoint.cluster())
}

/// How a report names the version an endpoint belongs to.
pub(crate) fn labels(endpoint: &Endpoint) -> String {
    let labels: Vec<String> = endpoint.labels().iter().map(|(name, value)| format!("{name}={value}")).collect();
    labels.join(",")
}

/// The host in `outbound|PORT|SUBSET|HOST`; a name of another form is its own host.
pub(crate) fn host_of(cluster: &str) -> &str {
    cluster.splitn(4, '|').nth(3).unwrap_or(cluster)
}

/// The namespace of a service in Kubernetes; of any other, `default`.
pub(crate) fn namespace(host: &str) -> &str {
    let mut labels = host.split('.').skip(1);
    match (labels.next(), labels.next()) {
        (Some(namespace), Some("svc")) => namespace,
        _ => "default",
    }
}

/// Whether `wanted` is this host, or its first labels.
pub(crate) fn is_host(wanted: &str, host: &str) -> bool {
    host.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether all `wanted` labels are there.
pub(crate) fn carries(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_known_by_their_first_labels() {
        let host = host_of("outbound|80|v1|sa-logic.default.svc.cluster.local");
        assert!(is_host("sa-logic", host) && is_host("sa-logic.default", host) && is_host(host, host));
        assert!(!is_host("sa", host) && !is_host("logic", host));
    }

    #[test]
    fn namespaces_are_those_of_kubernetes() {
        assert_eq!(namespace("sa-logic.shop.svc.cluster.local"), "shop");
        assert_eq!(namespace("api.example.com"), "default");
    }
}
