//! Clusters: one for each port of a service, and one more for each of its subsets.

use crate::destination_rules::{DestinationRules, Merged, MergedSubset};
use crate::load_balancer::LoadBalancer;
use crate::service_entries::{Port, Service, Services};
use crate::traffic_policy::TrafficPolicy;
use crate::{Caller, Cluster, Endpoint};
use istio_config::names;
use std::collections::BTreeMap;

/// All clusters by name. A subset without endpoints has its cluster too, an empty one; but not where endpoints are found by
/// DNS: istiod makes no such cluster (`buildCluster`), and its requests get 503 for want of it.
pub(crate) fn build(
    services: &Services<'_>,
    rules: &DestinationRules<'_>,
    caller: &Caller,
) -> BTreeMap<String, Cluster> {
    let none = Merged::default();
    let mut clusters = BTreeMap::new();
    for (host, Service { namespace: _, ports }) in services {
        let Merged { policy, subsets } = rules.get(host).unwrap_or(&none);
        for (number, port) in ports {
            let mut add = |subset: &str, policy: &TrafficPolicy, belongs: &dyn Fn(&Endpoint) -> bool| {
                let name = names::cluster_name(*number, subset, host);
                let cluster = cluster(name, port, policy, caller, belongs);
                if !(cluster.discovery.is_by_name() && cluster.endpoints.is_empty()) {
                    clusters.insert(cluster.name.clone(), cluster);
                }
            };
            let host_policy = policy.at_port(*number);
            add("", &host_policy, &|_| true);
            for subset in subsets {
                let MergedSubset { name, labels: _, policy } = subset;
                add(name, &policy.at_port(*number).over(&host_policy), &|endpoint| subset.selects(&endpoint.labels));
            }
        }
    }
    clusters
}

fn cluster(
    name: String,
    port: &Port,
    policy: &TrafficPolicy,
    caller: &Caller,
    belongs: &dyn Fn(&Endpoint) -> bool,
) -> Cluster {
    let Port { protocol, discovery, names, endpoints } = port;
    let mut endpoints: Vec<Endpoint> = endpoints.iter().filter(|endpoint| belongs(endpoint)).cloned().collect();
    // As istiod puts them, locality by locality.
    endpoints.sort_by_cached_key(|endpoint| endpoint.locality.to_string());
    let outliers = policy.outliers().cloned();
    let LoadBalancer { method, warmup, locality } = policy.load_balancer();
    Cluster {
        name,
        load_balancing: method,
        warmup,
        locality_weights: locality.and_then(|setting| setting.apply(caller, outliers.is_some(), &mut endpoints)),
        connect_timeout: policy.connect_timeout(),
        limits: policy.limits(),
        connections: policy.connections(),
        outliers,
        protocol: policy.protocol(*protocol),
        tls: policy.tls(names),
        discovery: *discovery,
        endpoints,
    }
}
