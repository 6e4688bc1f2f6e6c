//! `trafficPolicy`: the blocks of it that are carried out, and a finding for each that is not yet.
//!
//! Istio layers block by block: what a subset says in `connectionPool` replaces the host's `connectionPool` whole, and
//! leaves the host's `loadBalancer` alone (istio `model.MergeTrafficPolicy`).

use crate::{LoadBalancing, durations};
use istio_config::Diagnostics;
use istio_config::destination_rule as raw;
use istio_config::destination_rule::{ClientTlsMode, SimpleLb};
use istio_config::diagnostic::At;
use std::time::Duration;

/// `connectTimeout` of a mesh that does not set one.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a policy says, block by block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrafficPolicy {
    load_balancer: Option<LoadBalancing>,
    connection_pool: Option<ConnectionPool>,
}

/// The block `connectionPool`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ConnectionPool {
    connect_timeout: Option<Duration>,
}

impl TrafficPolicy {
    /// Reads the policy at `at`.
    pub(crate) fn compile(at: &At<'_>, raw: &raw::TrafficPolicy, diagnostics: &mut Diagnostics) -> Self {
        let raw::TrafficPolicy {
            load_balancer,
            connection_pool,
            outlier_detection,
            tls,
            port_level_settings,
            tunnel,
            proxy_protocol,
            retry_budget,
        } = raw;
        if *raw == raw::TrafficPolicy::default() {
            diagnostics.error(at, "empty-policy", "a traffic policy without a field", "remove it");
        }
        if tunnel.is_some() && proxy_protocol.is_some() {
            let message = "`tunnel` beside `proxyProtocol`";
            diagnostics.error(at, "tunnel-and-proxy-protocol", message, "keep one of them");
        }
        let has_tls = tls.as_ref().is_some_and(|tls| tls.mode.is_some_and(|mode| mode != ClientTlsMode::Disable));
        for (field, is_set, what) in [
            ("outlierDetection", outlier_detection.is_some(), "failing endpoints are not ejected"),
            ("tls", has_tls, "endpoints are called without TLS"),
            ("portLevelSettings", !port_level_settings.is_empty(), "every port has the policy of the host"),
            ("tunnel", tunnel.is_some(), "endpoints are called directly"),
            ("proxyProtocol", proxy_protocol.is_some(), "connections begin without a PROXY header"),
            ("retryBudget", retry_budget.is_some(), "concurrent retries are not limited"),
        ] {
            if is_set {
                not_yet(&at.field(field), what, diagnostics);
            }
        }
        Self {
            load_balancer: load_balancer
                .as_ref()
                .map(|raw| compile_load_balancer(&at.field("loadBalancer"), raw, diagnostics)),
            connection_pool: connection_pool
                .as_ref()
                .map(|raw| compile_connection_pool(&at.field("connectionPool"), raw, diagnostics)),
        }
    }

    /// This policy, and `host`'s blocks where it has none itself.
    pub(crate) fn over(self, host: Self) -> Self {
        Self {
            load_balancer: self.load_balancer.or(host.load_balancer),
            connection_pool: self.connection_pool.or(host.connection_pool),
        }
    }

    /// How an endpoint is chosen.
    pub(crate) fn load_balancing(self) -> LoadBalancing {
        self.load_balancer.unwrap_or_default()
    }

    /// Limit for opening a connection.
    pub(crate) fn connect_timeout(self) -> Duration {
        self.connection_pool.and_then(|pool| pool.connect_timeout).unwrap_or(CONNECT_TIMEOUT)
    }
}

fn not_yet(at: &At<'_>, what: &str, diagnostics: &mut Diagnostics) {
    diagnostics.warning(
        at,
        "not-carried-out-yet",
        format!("not carried out yet: {what}"),
        "remove the field, or take it into account",
    );
}

fn compile_load_balancer(at: &At<'_>, raw: &raw::LoadBalancerSettings, diagnostics: &mut Diagnostics) -> LoadBalancing {
    let raw::LoadBalancerSettings {
        simple,
        consistent_hash,
        locality_lb_setting,
        zone_aware_lb_setting,
        warmup_duration_secs,
        warmup,
    } = raw;
    if simple.is_some() && consistent_hash.is_some() {
        let message = "`simple` beside `consistentHash`";
        diagnostics.error(at, "two-load-balancers", message, "keep one of them");
    }
    for (field, is_set, what) in [
        ("consistentHash", consistent_hash.is_some(), "endpoints are chosen without a key"),
        ("localityLbSetting", locality_lb_setting.is_some(), "endpoints are chosen without regard to locality"),
        ("zoneAwareLbSetting", zone_aware_lb_setting.is_some(), "endpoints are chosen without regard to zones"),
        ("warmupDurationSecs", warmup_duration_secs.is_some(), "new endpoints get their full share at once"),
        ("warmup", warmup.is_some(), "new endpoints get their full share at once"),
    ] {
        if is_set {
            not_yet(&at.field(field), what, diagnostics);
        }
    }
    match simple {
        None | Some(SimpleLb::Unspecified | SimpleLb::LeastConn | SimpleLb::LeastRequest) => {
            LoadBalancing::LeastRequest
        }
        Some(SimpleLb::RoundRobin) => LoadBalancing::RoundRobin,
        Some(SimpleLb::Random) => LoadBalancing::Random,
        Some(SimpleLb::Passthrough) => {
            let help = "choose LEAST_REQUEST, ROUND_ROBIN or RANDOM";
            diagnostics.error(&at.field("simple"), "not-served-yet", "PASSTHROUGH is not served yet", help);
            LoadBalancing::default()
        }
    }
}

fn compile_connection_pool(
    at: &At<'_>,
    raw: &raw::ConnectionPoolSettings,
    diagnostics: &mut Diagnostics,
) -> ConnectionPool {
    let raw::ConnectionPoolSettings { tcp, http } = raw;
    if tcp.is_none() && http.is_none() {
        diagnostics.error(at, "empty-policy", "a connection pool without a field", "remove it");
    }
    if http.is_some() {
        not_yet(&at.field("http"), "limits of requests are not enforced", diagnostics);
    }
    let Some(tcp) = tcp else { return ConnectionPool::default() };
    let raw::TcpSettings { max_connections, connect_timeout, tcp_keepalive, max_connection_duration, idle_timeout } =
        tcp;
    let at = at.field("tcp");
    for (field, is_set, what) in [
        ("maxConnections", max_connections.is_some(), "connections are not limited"),
        ("tcpKeepalive", tcp_keepalive.is_some(), "connections have the system's keepalive"),
        ("maxConnectionDuration", max_connection_duration.is_some(), "connections live as long as they can"),
        ("idleTimeout", idle_timeout.is_some(), "idle connections are closed after an hour"),
    ] {
        if is_set {
            not_yet(&at.field(field), what, diagnostics);
        }
    }
    let connect_timeout =
        connect_timeout.and_then(|duration| durations::checked(&at.field("connectTimeout"), duration, diagnostics));
    ConnectionPool { connect_timeout }
}

#[cfg(test)]
mod tests {
    use crate::LoadBalancing;
    use crate::testing::{SERVICES, build, check_findings};
    use std::time::Duration;

    fn rule(host_policy: &str, subset_policy: &str) -> String {
        format!(
            "{SERVICES}---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: a}}\nspec: {{host: a, trafficPolicy: {host_policy}, subsets: [{{name: v1, labels: {{version: v1}}, trafficPolicy: {subset_policy}}}]}}\n"
        )
    }

    /// Balancing and connect timeout in seconds: first of the host's cluster, then of its subset's.
    fn check(host_policy: &str, subset_policy: &str, host: (LoadBalancing, u64), subset: (LoadBalancing, u64)) {
        let (plan, _, _) = build(&rule(host_policy, subset_policy));
        for (name, (balancing, seconds)) in [("", host), ("v1", subset)] {
            let cluster = &plan.clusters[&format!("outbound|80|{name}|a.default.svc.cluster.local")];
            assert_eq!(
                (cluster.load_balancing, cluster.connect_timeout),
                (balancing, Duration::from_secs(seconds)),
                "`{name}`"
            );
        }
    }

    fn refuse(policy: &str, expected: &[&str]) {
        let expected: Vec<String> =
            expected.iter().map(|finding| format!("DestinationRule spec.trafficPolicy{finding}")).collect();
        check_findings(&rule(policy, "~"), &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }

    use LoadBalancing::{LeastRequest, Random, RoundRobin};

    #[test]
    fn defaults_are_istios() {
        check("~", "~", (LeastRequest, 10), (LeastRequest, 10));
    }

    #[test]
    fn standard_algorithms_are_carried_out() {
        for (name, balancing) in [
            ("UNSPECIFIED", LeastRequest),
            ("LEAST_CONN", LeastRequest),
            ("LEAST_REQUEST", LeastRequest),
            ("ROUND_ROBIN", RoundRobin),
            ("RANDOM", Random),
        ] {
            check(&format!("{{loadBalancer: {{simple: {name}}}}}"), "~", (balancing, 10), (balancing, 10));
        }
        refuse("{loadBalancer: {simple: PASSTHROUGH}}", &[".loadBalancer.simple: error[not-served-yet]"]);
    }

    #[test]
    fn a_subset_goes_over_its_host_block_by_block() {
        let host = "{loadBalancer: {simple: RANDOM}, connectionPool: {tcp: {connectTimeout: 3s}}}";
        check(host, "~", (Random, 3), (Random, 3));
        check(host, "{loadBalancer: {simple: ROUND_ROBIN}}", (Random, 3), (RoundRobin, 3));
        check(host, "{connectionPool: {tcp: {connectTimeout: 1s}}}", (Random, 3), (Random, 1));
        // The whole block is the subset's, so the timeout is the mesh's again.
        check(host, "{connectionPool: {http: {maxRetries: 1}}}", (Random, 3), (Random, 10));
    }

    #[test]
    fn what_is_not_carried_out_is_named() {
        refuse(
            "{loadBalancer: {consistentHash: {useSourceIp: true}, localityLbSetting: {}, zoneAwareLbSetting: {}, warmupDurationSecs: 1s, warmup: {}}}",
            &[
                ".loadBalancer.consistentHash: warning[not-carried-out-yet]",
                ".loadBalancer.localityLbSetting: warning[not-carried-out-yet]",
                ".loadBalancer.zoneAwareLbSetting: warning[not-carried-out-yet]",
                ".loadBalancer.warmupDurationSecs: warning[not-carried-out-yet]",
                ".loadBalancer.warmup: warning[not-carried-out-yet]",
            ],
        );
        refuse(
            "{connectionPool: {http: {maxRetries: 1}, tcp: {maxConnections: 1, tcpKeepalive: {}, maxConnectionDuration: 1s, idleTimeout: 1s}}}",
            &[
                ".connectionPool.http: warning[not-carried-out-yet]",
                ".connectionPool.tcp.maxConnections: warning[not-carried-out-yet]",
                ".connectionPool.tcp.tcpKeepalive: warning[not-carried-out-yet]",
                ".connectionPool.tcp.maxConnectionDuration: warning[not-carried-out-yet]",
                ".connectionPool.tcp.idleTimeout: warning[not-carried-out-yet]",
            ],
        );
        refuse(
            "{outlierDetection: {}, tls: {mode: SIMPLE}, portLevelSettings: [{port: {number: 80}, tls: {}}], tunnel: {}, retryBudget: {}}",
            &[
                ".outlierDetection: warning[not-carried-out-yet]",
                ".tls: warning[not-carried-out-yet]",
                ".portLevelSettings: warning[not-carried-out-yet]",
                ".tunnel: warning[not-carried-out-yet]",
                ".retryBudget: warning[not-carried-out-yet]",
            ],
        );
        refuse("{proxyProtocol: {}}", &[".proxyProtocol: warning[not-carried-out-yet]"]);
        refuse("{tls: {mode: DISABLE}}", &[]);
    }

    #[test]
    fn what_istioctl_refuses_is_an_error() {
        refuse("{}", &[": error[empty-policy]"]);
        refuse("{connectionPool: {}}", &[".connectionPool: error[empty-policy]"]);
        refuse(
            "{connectionPool: {tcp: {connectTimeout: 1us}}}",
            &[".connectionPool.tcp.connectTimeout: error[bad-duration]"],
        );
        refuse(
            "{loadBalancer: {simple: RANDOM, consistentHash: {useSourceIp: true}}}",
            &[".loadBalancer: error[two-load-balancers]", ".loadBalancer.consistentHash: warning[not-carried-out-yet]"],
        );
        refuse(
            "{tunnel: {}, proxyProtocol: {}}",
            &[
                ": error[tunnel-and-proxy-protocol]",
                ".tunnel: warning[not-carried-out-yet]",
                ".proxyProtocol: warning[not-carried-out-yet]",
            ],
        );
    }
}
