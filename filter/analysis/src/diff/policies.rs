//! How a cluster treats its requests, as texts: what is not said of two clusters alike is a difference.
//!
//! Fields are called as Istio calls them, and left out where they limit nothing.

use envoy_plan::{
    Cluster, Connections, Limits, LoadBalancing, Locality, OutlierDetection, Pings, RetryBudget, Roots, TcpKeepalive,
    UpstreamProtocol, UpstreamTls, Warmup,
};
use std::collections::BTreeMap;
use std::fmt::{Debug, Write};

/// What is told of a cluster beside where it leads, always in this order.
pub(super) type Policies = [(&'static str, String); 9];

/// Of this cluster.
pub(super) fn of(cluster: &Cluster) -> Policies {
    let Cluster {
        name: _,
        load_balancing,
        warmup,
        locality_weights,
        connect_timeout,
        limits,
        connections,
        outliers,
        protocol,
        tls,
        // Where requests end is another question.
        discovery: _,
        endpoints: _,
    } = cluster;
    [
        ("balancing", balancing(*load_balancing)),
        ("warmup", warmup.as_ref().map_or_else(|| "none".to_owned(), warmed)),
        ("localityWeights", locality_weights.as_ref().map_or_else(|| "none".to_owned(), weighed)),
        ("connectTimeout", format!("{connect_timeout:?}")),
        ("limits", limited(limits)),
        ("connections", kept(connections)),
        ("outlierDetection", outliers.as_ref().map_or_else(|| "none".to_owned(), ejected)),
        ("protocol", spoken(*protocol).to_owned()),
        ("tls", tls.as_ref().map_or_else(|| "none".to_owned(), secured)),
    ]
}

/// Names and values of what was said.
#[derive(Default)]
struct Said(String);

impl Said {
    fn add(&mut self, name: &str, value: Option<impl Debug>) {
        if let Some(value) = value {
            let comma = if self.0.is_empty() { "" } else { ", " };
            let _ = write!(self.0, "{comma}{name} {value:?}");
        }
    }

    fn or_none(self) -> String {
        if self.0.is_empty() { "none".to_owned() } else { self.0 }
    }
}

fn balancing(method: LoadBalancing) -> String {
    match method {
        LoadBalancing::RingHash { size_min } => format!("{}, minimumRingSize {size_min}", method.name()),
        LoadBalancing::Maglev { table_size } => format!("{}, tableSize {table_size}", method.name()),
        LoadBalancing::LeastRequest | LoadBalancing::RoundRobin | LoadBalancing::Random => method.name().to_owned(),
    }
}

fn warmed(warmup: &Warmup) -> String {
    let Warmup { window, least, aggression } = warmup;
    format!("duration {window:?}, minimumPercent {}, aggression {aggression}", least.percent())
}

/// Weights that a rule gives; others are those of the endpoints.
fn weighed(weights: &BTreeMap<Locality, u32>) -> String {
    if weights.is_empty() {
        return "of the endpoints".to_owned();
    }
    weights.iter().map(|(locality, weight)| format!("{locality} {weight}")).collect::<Vec<_>>().join(", ")
}

fn secured(tls: &UpstreamTls) -> String {
    let UpstreamTls { client, roots, revoked, names, server_name, is_for_host: _ } = tls;
    let mut said = Said::default();
    said.add("clientCertificate", client.as_ref().map(|client| &client.chain));
    said.add("privateKey", client.as_ref().map(|client| &client.key));
    match roots {
        None => said.add("insecureSkipVerify", Some(true)),
        Some(Roots::System) => said.add("caCertificates", Some("of the machine")),
        Some(Roots::File(path)) => said.add("caCertificates", Some(path)),
    }
    said.add("caCrl", revoked.as_ref());
    said.add("subjectAltNames", Some(names).filter(|names| !names.is_empty()));
    said.add("sni", server_name.as_ref());
    said.or_none()
}

fn limited(limits: &Limits) -> String {
    let Limits { connections, pending, requests, retries, retry_budget } = limits;
    let mut said = Said::default();
    said.add("maxConnections", *connections);
    said.add("http1MaxPendingRequests", *pending);
    said.add("http2MaxRequests", *requests);
    match retry_budget {
        None => said.add("maxRetries", *retries),
        Some(RetryBudget { share, at_least, interval }) => {
            said.add("retryBudget.percent", Some(share.percent()));
            said.add("minRetryConcurrency", Some(at_least));
            said.add("budgetInterval", *interval);
        }
    }
    said.or_none()
}

fn kept(connections: &Connections) -> String {
    let Connections { idle_timeout, duration_max, requests_max, keepalive, streams_max, pings } = connections;
    let mut said = Said::default();
    said.add("idleTimeout", *idle_timeout);
    said.add("maxConnectionDuration", *duration_max);
    said.add("maxRequestsPerConnection", *requests_max);
    if let Some(TcpKeepalive { probes, time_seconds, interval_seconds }) = keepalive {
        said.add("tcpKeepalive.probes", Some(probes.unwrap_or_default()));
        said.add("tcpKeepalive.time in seconds", *time_seconds);
        said.add("tcpKeepalive.interval in seconds", *interval_seconds);
    }
    said.add("maxConcurrentStreams", *streams_max);
    if let Some(Pings { interval, timeout }) = pings {
        said.add("http2KeepAlive.interval", Some(interval));
        said.add("http2KeepAlive.timeout", Some(timeout));
    }
    said.or_none()
}

fn ejected(outliers: &OutlierDetection) -> String {
    let OutlierDetection {
        errors,
        gateway_errors,
        local_failures,
        interval,
        ejection_time,
        ejection_time_max: _,
        ejected_percent_max,
        healthy_percent_min,
        error_codes,
    } = outliers;
    let mut said = Said::default();
    let counted = |number: u32| (number > 0).then_some(number);
    said.add("consecutive5xxErrors", counted(*errors));
    said.add("consecutiveGatewayErrors", counted(*gateway_errors));
    said.add("consecutiveLocalOriginFailures", *local_failures);
    said.add("interval", Some(interval));
    said.add("baseEjectionTime", Some(ejection_time));
    said.add("maxEjectionPercent", Some(ejected_percent_max));
    said.add("minHealthPercent", counted(*healthy_percent_min));
    said.add("outlierDetectionHttpErrorCodes", (!error_codes.is_empty()).then_some(error_codes));
    said.or_none()
}

fn spoken(protocol: UpstreamProtocol) -> &'static str {
    match protocol {
        UpstreamProtocol::Http1 => "HTTP/1.1",
        UpstreamProtocol::Http2 => "HTTP/2",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_plan::PerMillion;

    #[test]
    fn what_limits_nothing_is_not_told() {
        assert_eq!(limited(&Limits::default()), "none");
        assert_eq!(kept(&Connections::default()), "none");
        let limits = Limits { connections: Some(2), retries: Some(1), ..Limits::default() };
        assert_eq!(limited(&limits), "maxConnections 2, maxRetries 1");
    }

    #[test]
    fn a_budget_takes_the_place_of_a_limit_on_retries() {
        let budget = RetryBudget { share: PerMillion::from_percent(12.5), at_least: 3, interval: None };
        let limits = Limits { retries: Some(1), retry_budget: Some(budget), ..Limits::default() };
        assert_eq!(limited(&limits), "retryBudget.percent 12.5, minRetryConcurrency 3");
    }

    #[test]
    fn ejection_is_told_by_its_fields() {
        let expected = "consecutive5xxErrors 5, interval 10s, baseEjectionTime 30s, maxEjectionPercent 10";
        assert_eq!(ejected(&OutlierDetection::default()), expected);
    }
}
