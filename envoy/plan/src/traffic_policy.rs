//! `trafficPolicy`: the blocks of it that are carried out, and a finding for each that is not yet.
//!
//! Istio layers block by block: what a subset says in `connectionPool` replaces the host's `connectionPool` whole, and
//! leaves the host's `loadBalancer` alone (istio `model.MergeTrafficPolicy`). What is said of a port replaces all four
//! blocks that can be said of one, also those it does not have (`util.GetPortLevelTrafficPolicy`).

use crate::build::ONLY_IN_A_MESH;
use crate::connection_pool::{self, CONNECT_TIMEOUT, ConnectionPool};
use crate::consistent_hash::{self, Hashed};
use crate::load_balancer::LoadBalancer;
use crate::tls::TlsBlock;
use crate::{
    Connections, Limits, LoadBalancing, OutlierDetection, RetryBudget, UpstreamProtocol, UpstreamTls, outliers,
};
use istio_config::Diagnostics;
use istio_config::destination_rule as raw;
use istio_config::destination_rule::SimpleLb;
use istio_config::diagnostic::At;
use std::time::Duration;

/// What a policy says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TrafficPolicy {
    blocks: Blocks,
    retry_budget: Option<RetryBudget>,
    /// What replaces the blocks for a port; of two for the same port the first counts.
    ports: Vec<(u32, Blocks)>,
    /// All blocks are said, and where one is absent that means the default: this policy is a port's.
    is_of_port: bool,
}

/// The blocks that can be said of a port.
#[derive(Clone, Debug, Default, PartialEq)]
struct Blocks {
    load_balancer: Option<LoadBalancer>,
    /// Of the same block; layered by itself, see [`consistent_hash`].
    hash: Option<Hashed>,
    connection_pool: Option<ConnectionPool>,
    outliers: Option<OutlierDetection>,
    tls: Option<TlsBlock>,
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
        for (field, is_set, what) in [
            ("tunnel", tunnel.is_some(), "endpoints are called directly"),
            ("proxyProtocol", proxy_protocol.is_some(), "connections begin without a PROXY header"),
        ] {
            if is_set {
                not_yet(&at.field(field), what, diagnostics);
            }
        }
        let raw_blocks = RawBlocks {
            load_balancer: load_balancer.as_ref(),
            connection_pool: connection_pool.as_ref(),
            outlier_detection: outlier_detection.as_ref(),
            tls: tls.as_ref(),
        };
        let list = at.field("portLevelSettings");
        let mut ports = Vec::new();
        for (index, settings) in port_level_settings.iter().enumerate() {
            let raw::PortTrafficPolicy { port, load_balancer, connection_pool, outlier_detection, tls } = settings;
            let raw_blocks = RawBlocks {
                load_balancer: load_balancer.as_ref(),
                connection_pool: connection_pool.as_ref(),
                outlier_detection: outlier_detection.as_ref(),
                tls: tls.as_ref(),
            };
            let blocks = Blocks::compile(&list.index(index), &raw_blocks, diagnostics);
            // Without a port they hold for none; `check` says so.
            ports.extend(port.as_ref().map(|port| (port.number, blocks)));
        }
        Self {
            blocks: Blocks::compile(at, &raw_blocks, diagnostics),
            retry_budget: retry_budget
                .as_ref()
                .map(|raw| connection_pool::retry_budget(&at.field("retryBudget"), raw, diagnostics)),
            ports,
            is_of_port: false,
        }
    }

    /// What it says of this port.
    pub(crate) fn at_port(&self, number: u16) -> Self {
        match self.ports.iter().find(|(port, _)| *port == u32::from(number)) {
            Some((_, blocks)) => Self { blocks: blocks.clone(), is_of_port: true, ..Self::default() },
            None => Self { ports: Vec::new(), ..self.clone() },
        }
    }

    /// This policy of a subset over that of its host, both of one port: `host`'s blocks where it has none itself.
    pub(crate) fn over(self, host: &Self) -> Self {
        let retry_budget = self.retry_budget.or(host.retry_budget);
        if self.is_of_port {
            return Self { retry_budget, ..self };
        }
        let Blocks { load_balancer, hash, connection_pool, outliers, tls } = self.blocks;
        let blocks = Blocks {
            load_balancer: load_balancer.or_else(|| host.blocks.load_balancer.clone()),
            hash,
            connection_pool: connection_pool.or_else(|| host.blocks.connection_pool.clone()),
            outliers: outliers.or_else(|| host.blocks.outliers.clone()),
            tls: tls.or_else(|| host.blocks.tls.clone()),
        };
        Self { blocks, retry_budget, ..self }
    }

    /// How an endpoint is chosen.
    pub(crate) fn load_balancer(&self) -> LoadBalancer {
        self.blocks.load_balancer.clone().unwrap_or_default()
    }

    /// TLS towards the endpoints of a service whose ServiceEntry has these `subjectAltNames`.
    pub(crate) fn tls(&self, names: &[String]) -> Option<UpstreamTls> {
        self.blocks.tls.as_ref().and_then(|tls| tls.for_service(names))
    }

    /// What it says of keys, by itself and for all ports.
    pub(crate) fn hash(&self) -> Option<&Hashed> {
        self.blocks.hash.as_ref()
    }

    /// What it says of keys for this port alone.
    pub(crate) fn hash_at_port(&self, number: u32) -> Option<&Hashed> {
        self.ports.iter().find(|(port, _)| *port == number)?.1.hash.as_ref()
    }

    /// Limit for opening a connection.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.pool().and_then(|pool| pool.connect_timeout).unwrap_or(CONNECT_TIMEOUT)
    }

    /// What may be under way at the same time.
    pub(crate) fn limits(&self) -> Limits {
        Limits { retry_budget: self.retry_budget, ..self.pool().map(|pool| pool.limits).unwrap_or_default() }
    }

    /// How connections are kept.
    pub(crate) fn connections(&self) -> Connections {
        self.pool().map(|pool| pool.connections).unwrap_or_default()
    }

    /// When endpoints are left out.
    pub(crate) fn outliers(&self) -> Option<&OutlierDetection> {
        self.blocks.outliers.as_ref()
    }

    /// What is spoken where the port says `declared`.
    pub(crate) fn protocol(&self, declared: UpstreamProtocol) -> UpstreamProtocol {
        if self.pool().is_some_and(|pool| pool.upgrades) { UpstreamProtocol::Http2 } else { declared }
    }

    fn pool(&self) -> Option<&ConnectionPool> {
        self.blocks.connection_pool.as_ref()
    }
}

/// The blocks as they are written, of a host, a subset or a port.
struct RawBlocks<'a> {
    load_balancer: Option<&'a raw::LoadBalancerSettings>,
    connection_pool: Option<&'a raw::ConnectionPoolSettings>,
    outlier_detection: Option<&'a raw::OutlierDetection>,
    tls: Option<&'a raw::ClientTlsSettings>,
}

impl Blocks {
    fn compile(at: &At<'_>, raw: &RawBlocks<'_>, diagnostics: &mut Diagnostics) -> Self {
        let RawBlocks { load_balancer, connection_pool, outlier_detection, tls } = raw;
        let load_balancer = load_balancer.map(|raw| LoadBalancer::compile(&at.field("loadBalancer"), raw, diagnostics));
        let (load_balancer, hash) = load_balancer.unzip();
        Self {
            tls: tls.map(|raw| TlsBlock::compile(&at.field("tls"), raw, diagnostics)),
            load_balancer,
            hash: hash.flatten(),
            connection_pool: connection_pool
                .map(|raw| connection_pool::compile(&at.field("connectionPool"), raw, diagnostics)),
            outliers: outlier_detection.map(|raw| outliers::compile(&at.field("outlierDetection"), raw, diagnostics)),
        }
    }
}

/// Reports a field that has no effect.
pub(crate) fn not_yet(at: &At<'_>, what: &str, diagnostics: &mut Diagnostics) {
    diagnostics.warning(
        at,
        "not-carried-out-yet",
        format!("not carried out yet: {what}"),
        "remove the field, or take it into account",
    );
}

/// The method and the keys alone; what else stands there is the subject of [`LoadBalancer`].
pub(crate) fn compile_load_balancer(
    at: &At<'_>,
    raw: &raw::LoadBalancerSettings,
    diagnostics: &mut Diagnostics,
) -> (LoadBalancing, Option<Hashed>) {
    let raw::LoadBalancerSettings {
        simple,
        consistent_hash,
        zone_aware_lb_setting,
        locality_lb_setting: _,
        warmup_duration_secs: _,
        warmup: _,
    } = raw;
    if simple.is_some() && consistent_hash.is_some() {
        let message = "`simple` beside `consistentHash`";
        diagnostics.error(at, "two-load-balancers", message, "keep one of them");
    }
    if zone_aware_lb_setting.is_some() {
        not_yet(&at.field("zoneAwareLbSetting"), "endpoints are chosen without regard to zones", diagnostics);
    }
    if let Some(raw) = consistent_hash {
        let (table, hash) = consistent_hash::compile(&at.field("consistentHash"), raw, diagnostics);
        return (table, Some(hash));
    }
    let simple = match simple {
        None | Some(SimpleLb::Unspecified | SimpleLb::LeastConn | SimpleLb::LeastRequest) => {
            LoadBalancing::LeastRequest
        }
        Some(SimpleLb::RoundRobin) => LoadBalancing::RoundRobin,
        Some(SimpleLb::Random) => LoadBalancing::Random,
        Some(SimpleLb::Passthrough) => {
            let help = "choose LEAST_REQUEST, ROUND_ROBIN or RANDOM";
            let message = "PASSTHROUGH sends a request where the client's packets were to go, which only a mesh knows";
            diagnostics.error(&at.field("simple"), ONLY_IN_A_MESH, message, help);
            LoadBalancing::default()
        }
    };
    (simple, None)
}

#[cfg(test)]
mod tests {
    use crate::testing::{SERVICES, build, check_findings};
    use crate::{
        Cluster, Connections, Limits, LoadBalancing, OutlierDetection, PerMillion, Pings, RetryBudget, TcpKeepalive,
        UpstreamProtocol,
    };
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
        refuse("{loadBalancer: {simple: PASSTHROUGH}}", &[".loadBalancer.simple: error[only-in-a-mesh]"]);
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
            "{loadBalancer: {zoneAwareLbSetting: {}}}",
            &[".loadBalancer.zoneAwareLbSetting: warning[not-carried-out-yet]"],
        );
        refuse(
            "{connectionPool: {http: {useClientProtocol: true}}}",
            &[".connectionPool.http.useClientProtocol: warning[not-carried-out-yet]"],
        );
        refuse(
            "{tls: {mode: ISTIO_MUTUAL}, portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE, credentialName: c}}], tunnel: {}}",
            &[
                ".tunnel: warning[not-carried-out-yet]",
                ".portLevelSettings[0].tls.credentialName: warning[not-carried-out-yet]",
                ".tls.mode: warning[not-carried-out-yet]",
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
            &[".loadBalancer: error[two-load-balancers]"],
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

    /// The clusters of the host and of its subset.
    fn clusters(host_policy: &str, subset_policy: &str) -> [Cluster; 2] {
        let (mut plan, _, findings) = build(&rule(host_policy, subset_policy));
        assert_eq!(findings, Vec::<String>::new());
        ["", "v1"].map(|name| plan.clusters.remove(&format!("outbound|80|{name}|a.default.svc.cluster.local")).unwrap())
    }

    #[test]
    fn limits_above_zero_count() {
        let pool = "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 2, http2MaxRequests: 3, maxRetries: 4}}}";
        let limits =
            Limits { connections: Some(1), pending: Some(2), requests: Some(3), retries: Some(4), retry_budget: None };
        assert_eq!(clusters(pool, "~").map(|cluster| cluster.limits), [limits; 2]);
        let zero = "{connectionPool: {tcp: {maxConnections: 0}, http: {http1MaxPendingRequests: 0, http2MaxRequests: 0, maxRetries: 0}}}";
        assert_eq!(clusters(zero, "~").map(|cluster| cluster.limits), [Limits::default(); 2]);
    }

    #[test]
    fn a_retry_budget_has_istiods_defaults() {
        let budget = |text: &str| clusters(&format!("{{retryBudget: {text}}}"), "~")[1].limits.retry_budget.unwrap();
        let twenty = RetryBudget { share: PerMillion::from_percent(20.0), at_least: 3, interval: None };
        assert_eq!(budget("{}"), twenty);
        assert_eq!(budget("{minRetryConcurrency: 0}"), twenty);
        assert_eq!(
            budget("{percent: 12.5, minRetryConcurrency: 1, budgetInterval: 2s}"),
            RetryBudget { share: PerMillion::from_percent(12.5), at_least: 1, interval: Some(Duration::from_secs(2)) }
        );
        assert_eq!(PerMillion::from_percent(12.5).of(17), 2);
        for percent in ["-1", "100.5"] {
            refuse(
                &format!("{{retryBudget: {{percent: {percent}}}}}"),
                &[".retryBudget.percent: error[bad-percentage]"],
            );
        }
    }

    #[test]
    fn an_endpoint_that_joins_has_no_more_than_its_share() {
        let [cluster, _] =
            clusters("{loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 5s, minimumPercent: 200}}}", "~");
        assert_eq!(cluster.warmup.unwrap().least, PerMillion::from_percent(100.0));
    }

    #[test]
    fn connections_live_as_they_are_told() {
        let [cluster, _] = clusters(
            "{connectionPool: {tcp: {idleTimeout: 5s, maxConnectionDuration: 6s, tcpKeepalive: {probes: 2, time: 3s, interval: 4s}}, http: {maxRequestsPerConnection: 7, maxConcurrentStreams: 8, h2UpgradePolicy: UPGRADE, http2KeepAlive: {interval: 9s, timeout: 10s}}}}",
            "~",
        );
        let seconds = Duration::from_secs;
        assert_eq!(
            cluster.connections,
            Connections {
                idle_timeout: Some(seconds(5)),
                duration_max: Some(seconds(6)),
                requests_max: Some(7),
                keepalive: Some(TcpKeepalive { probes: Some(2), time_seconds: Some(3), interval_seconds: Some(4) }),
                streams_max: Some(8),
                pings: Some(Pings { interval: seconds(9), timeout: seconds(10) }),
            }
        );
        assert_eq!(cluster.protocol, UpstreamProtocol::Http2);
        let idle = |pool: &str| clusters(&format!("{{connectionPool: {pool}}}"), "~")[0].connections.idle_timeout;
        assert_eq!(idle("{tcp: {idleTimeout: 5s}, http: {idleTimeout: 1s}}"), Some(seconds(1)));
        assert_eq!(idle("{tcp: {idleTimeout: 0s}}"), Some(Duration::ZERO));
        assert_eq!(idle("{tcp: {maxConnections: 1}}"), None);
    }

    #[test]
    fn ejection_has_envoys_defaults_but_for_the_panic_threshold() {
        let outliers =
            |text: &str| clusters(&format!("{{outlierDetection: {text}}}"), "~")[0].outliers.clone().unwrap();
        assert_eq!(outliers("{}"), OutlierDetection::default());
        assert_eq!(
            outliers(
                "{consecutive5xxErrors: 0, consecutiveGatewayErrors: 2, interval: 1s, baseEjectionTime: 400s, maxEjectionPercent: 100, minHealthPercent: 50, outlierDetectionHttpErrorCodes: [429]}"
            ),
            OutlierDetection {
                errors: 0,
                gateway_errors: 2,
                local_failures: None,
                interval: Duration::from_secs(1),
                ejection_time: Duration::from_secs(400),
                ejection_time_max: Duration::from_secs(400),
                ejected_percent_max: 100,
                healthy_percent_min: 50,
                error_codes: vec![429],
            }
        );
        let apart = |text: &str| outliers(&format!("{{splitExternalLocalOriginErrors: {text}}}")).local_failures;
        assert_eq!(apart("true"), Some(5));
        assert_eq!(apart("true, consecutiveLocalOriginFailures: 2"), Some(2));
        assert_eq!(apart("false, consecutiveLocalOriginFailures: 2"), None);
        assert_eq!(clusters("~", "~")[0].outliers, None);
    }

    #[test]
    fn what_is_said_of_a_port_replaces_every_block() {
        let policy = |port: u16| {
            format!(
                "{{loadBalancer: {{simple: RANDOM}}, connectionPool: {{tcp: {{maxConnections: 1}}}}, outlierDetection: {{}}, retryBudget: {{}}, portLevelSettings: [{{port: {{number: {port}}}, connectionPool: {{tcp: {{maxConnections: 2}}}}}}]}}"
            )
        };
        let said = |cluster: &Cluster| {
            let Limits { connections, retry_budget, .. } = cluster.limits;
            (cluster.load_balancing, connections, cluster.outliers.is_some(), retry_budget.is_some())
        };
        let (all, port) = ((Random, Some(1), true, true), (LeastRequest, Some(2), false, false));
        assert_eq!(clusters(&policy(81), "~").each_ref().map(said), [all; 2]);
        assert_eq!(clusters(&policy(80), "~").each_ref().map(said), [port; 2]);
        // Over the host's blocks go a subset's, block by block, and those that it says of the port all together.
        let subset = "{loadBalancer: {simple: ROUND_ROBIN}}";
        assert_eq!(said(&clusters(&policy(80), subset)[1]), (RoundRobin, Some(2), false, false));
        assert_eq!(said(&clusters(&policy(81), &policy(80))[1]), (LeastRequest, Some(2), false, true));
    }
}
