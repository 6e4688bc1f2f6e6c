//! `validateTrafficPolicy`, block by block.

use super::{names, shared};
use istio_config::Diagnostics;
use istio_config::destination_rule::{
    ClientTlsMode, ClientTlsSettings, ConnectionPoolSettings, ConsistentHashLb, H2UpgradePolicy, HttpSettings,
    LoadBalancerSettings, LocalityLoadBalancerSetting, OutlierDetection, PortTrafficPolicy, TcpSettings, TrafficPolicy,
    TunnelSettings,
};
use istio_config::diagnostic::At;
use std::net::IpAddr;

pub(super) fn check(at: &At<'_>, policy: &TrafficPolicy, diagnostics: &mut Diagnostics) {
    let TrafficPolicy {
        load_balancer,
        connection_pool,
        outlier_detection,
        tls,
        port_level_settings,
        tunnel,
        proxy_protocol: _,
        retry_budget: _,
    } = policy;
    blocks(at, load_balancer.as_ref(), connection_pool.as_ref(), outlier_detection.as_ref(), tls.as_ref(), diagnostics);
    let list = at.field("portLevelSettings");
    for (index, settings) in port_level_settings.iter().enumerate() {
        let at = list.index(index);
        let PortTrafficPolicy { port, load_balancer, connection_pool, outlier_detection, tls } = settings;
        if port.is_none() {
            diagnostics.error(&at.field("port"), "bad-policy", "settings of no port", "add `port: {number: N}`");
        }
        if load_balancer.is_none() && connection_pool.is_none() && outlier_detection.is_none() && tls.is_none() {
            diagnostics.error(&at, "empty-policy", "settings without a field", "remove them");
        }
        if connection_pool.as_ref().is_some_and(|pool| pool.tcp.is_none() && pool.http.is_none()) {
            let at = at.field("connectionPool");
            diagnostics.error(&at, "empty-policy", "a connection pool without a field", "remove it");
        }
        blocks(
            &at,
            load_balancer.as_ref(),
            connection_pool.as_ref(),
            outlier_detection.as_ref(),
            tls.as_ref(),
            diagnostics,
        );
    }
    if let Some(tunnel) = tunnel {
        check_tunnel(&at.field("tunnel"), tunnel, diagnostics);
    }
}

fn blocks(
    at: &At<'_>,
    balancer: Option<&LoadBalancerSettings>,
    pool: Option<&ConnectionPoolSettings>,
    outlier: Option<&OutlierDetection>,
    tls: Option<&ClientTlsSettings>,
    diagnostics: &mut Diagnostics,
) {
    if let Some(outlier) = outlier {
        check_outlier(&at.field("outlierDetection"), outlier, diagnostics);
    }
    if let Some(ConnectionPoolSettings { tcp, http }) = pool {
        let at = at.field("connectionPool");
        if let Some(http) = http {
            check_http(&at.field("http"), http, diagnostics);
        }
        if let Some(tcp) = tcp {
            check_tcp(&at.field("tcp"), tcp, diagnostics);
        }
    }
    if let Some(balancer) = balancer {
        check_balancer(&at.field("loadBalancer"), balancer, diagnostics);
    }
    if let Some(tls) = tls {
        check_tls(&at.field("tls"), tls, diagnostics);
    }
}

fn check_outlier(at: &At<'_>, outlier: &OutlierDetection, diagnostics: &mut Diagnostics) {
    shared::duration(&at.field("baseEjectionTime"), outlier.base_ejection_time, diagnostics);
    shared::duration(&at.field("interval"), outlier.interval, diagnostics);
    shared::percent(&at.field("maxEjectionPercent"), outlier.max_ejection_percent, diagnostics);
    shared::percent(&at.field("minHealthPercent"), outlier.min_health_percent, diagnostics);
    let counts_local = outlier.consecutive_local_origin_failures.is_some_and(|failures| failures > 0);
    if counts_local && outlier.split_external_local_origin_errors != Some(true) {
        let message = "failures of local origin are not counted by themselves";
        let help = "add splitExternalLocalOriginErrors: true";
        diagnostics.error(&at.field("consecutiveLocalOriginFailures"), "bad-policy", message, help);
    }
}

fn check_http(at: &At<'_>, http: &HttpSettings, diagnostics: &mut Diagnostics) {
    for (field, number) in [
        ("http1MaxPendingRequests", http.http1_max_pending_requests),
        ("http2MaxRequests", http.http2_max_requests),
        ("maxRequestsPerConnection", http.max_requests_per_connection),
        ("maxRetries", http.max_retries),
        ("maxConcurrentStreams", http.max_concurrent_streams),
    ] {
        shared::not_negative(&at.field(field), number, diagnostics);
    }
    shared::duration(&at.field("idleTimeout"), http.idle_timeout, diagnostics);
    if http.h2_upgrade_policy == Some(H2UpgradePolicy::Upgrade) && http.use_client_protocol == Some(true) {
        let message = "the client's protocol, and an upgrade from it";
        diagnostics.error(&at.field("useClientProtocol"), "bad-policy", message, "keep one of them");
    }
    if let Some(keepalive) = &http.http2_keep_alive {
        let at = at.field("http2KeepAlive");
        for (field, duration) in [("interval", keepalive.interval), ("timeout", keepalive.timeout)] {
            match duration {
                None => {
                    let message = format!("a keepalive without {field}");
                    diagnostics.error(&at.field(field), "bad-policy", message, "add interval and timeout");
                }
                duration => shared::duration(&at.field(field), duration, diagnostics),
            }
        }
    }
}

fn check_tcp(at: &At<'_>, tcp: &TcpSettings, diagnostics: &mut Diagnostics) {
    shared::not_negative(&at.field("maxConnections"), tcp.max_connections, diagnostics);
    shared::duration(&at.field("maxConnectionDuration"), tcp.max_connection_duration, diagnostics);
    // 0 switches it off.
    let idle = tcp.idle_timeout.filter(|idle| idle.0.as_millis() != 0);
    shared::duration(&at.field("idleTimeout"), idle, diagnostics);
    if let Some(keepalive) = &tcp.tcp_keepalive {
        let at = at.field("tcpKeepalive");
        shared::duration(&at.field("time"), keepalive.time, diagnostics);
        shared::duration(&at.field("interval"), keepalive.interval, diagnostics);
    }
}

fn check_balancer(at: &At<'_>, balancer: &LoadBalancerSettings, diagnostics: &mut Diagnostics) {
    if let Some(hash) = &balancer.consistent_hash {
        check_hash(&at.field("consistentHash"), hash, diagnostics);
    }
    if balancer.locality_lb_setting.is_some() && balancer.zone_aware_lb_setting.is_some() {
        let message = "`localityLbSetting` beside `zoneAwareLbSetting`";
        diagnostics.error(&at.field("zoneAwareLbSetting"), "bad-policy", message, "keep one of them");
    }
    if let Some(locality) = &balancer.locality_lb_setting {
        check_locality(&at.field("localityLbSetting"), locality, diagnostics);
    }
    if let Some(warmup) = &balancer.warmup {
        let at = at.field("warmup");
        match warmup.duration {
            None => diagnostics.error(&at.field("duration"), "bad-policy", "a warm-up without a duration", "add it"),
            duration => shared::duration(&at.field("duration"), duration, diagnostics),
        }
        if let Some(percent) = warmup.minimum_percent.filter(|percent| *percent > 100.0) {
            let message = format!("{percent} is not a percentage");
            diagnostics.error(&at.field("minimumPercent"), "bad-percentage", message, "write 0 to 100");
        }
        if warmup.aggression.is_some_and(|aggression| aggression <= 0.0) {
            diagnostics.error(&at.field("aggression"), "bad-policy", "not above 0", "write a number above 0");
        }
    }
}

fn check_hash(at: &At<'_>, hash: &ConsistentHashLb, diagnostics: &mut Diagnostics) {
    let ConsistentHashLb {
        http_header_name,
        http_cookie,
        use_source_ip,
        http_query_parameter_name,
        ring_hash,
        maglev,
        minimum_ring_size,
    } = hash;
    let keys = [
        ("httpHeaderName", http_header_name.is_some()),
        ("httpCookie", http_cookie.is_some()),
        ("useSourceIp", use_source_ip.is_some()),
        ("httpQueryParameterName", http_query_parameter_name.is_some()),
    ];
    let named: Vec<_> = keys.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
    if named.len() > 1 {
        let message = format!("a hash has one key, not {}", named.join(" and "));
        diagnostics.error(at, "oneof", message, "keep one of them");
    }
    if ring_hash.is_some() && maglev.is_some() {
        diagnostics.error(at, "oneof", "only one of ringHash and maglev may be set", "remove the other");
    }
    if minimum_ring_size.is_some_and(|size| size != 0) && (ring_hash.is_some() || maglev.is_some()) {
        let message = "`minimumRingSize` beside ringHash or maglev";
        diagnostics.error(&at.field("minimumRingSize"), "oneof", message, "remove it");
    }
    if let Some(cookie) = http_cookie {
        let at = at.field("httpCookie");
        let list = at.field("attributes");
        for (index, attribute) in cookie.attributes.iter().enumerate() {
            let is_twin = cookie.attributes.iter().take(index).any(|earlier| earlier.name == attribute.name);
            if attribute.name.is_empty() || is_twin {
                let message = "an attribute without a name of its own";
                diagnostics.error(&list.index(index).field("name"), "bad-policy", message, "name each once");
            }
        }
    }
    if let Some(maglev) = maglev {
        // istiod takes none as Envoy's own size, and other sizes are the plan's subject.
        if maglev.table_size.unwrap_or(0) == 0 {
            let help = "write a prime number, such as 65537";
            diagnostics.error(&at.field("maglev").field("tableSize"), "bad-policy", "a table without a size", help);
        }
    }
}

fn check_locality(at: &At<'_>, locality: &LocalityLoadBalancerSetting, diagnostics: &mut Diagnostics) {
    let LocalityLoadBalancerSetting { distribute, failover, failover_priority: _, enabled: _ } = locality;
    if !distribute.is_empty() && !failover.is_empty() {
        diagnostics.error(at, "bad-policy", "`distribute` beside `failover`", "keep one of them");
        return;
    }
    let list = at.field("distribute");
    for (index, distribute) in distribute.iter().enumerate() {
        let sum: u32 = distribute.to.values().fold(0, |sum, weight| sum.saturating_add(*weight));
        let in_range = distribute.to.values().all(|weight| (1..=100).contains(weight));
        if sum != 100 || !in_range {
            let message = format!("weights of 1 to 100 that sum to 100, not {sum}");
            diagnostics.error(&list.index(index).field("to"), "bad-policy", message, "correct the weights");
        }
    }
    let list = at.field("failover");
    for (index, failover) in failover.iter().enumerate() {
        let is_region = |name: &str| !name.contains(['/', '*']);
        if failover.from == failover.to || !is_region(&failover.from) || !is_region(&failover.to) {
            let message = "a failover leads from one region to another one";
            diagnostics.error(&list.index(index), "bad-policy", message, "name two regions, without `/` and `*`");
        }
    }
}

fn check_tls(at: &At<'_>, tls: &ClientTlsSettings, diagnostics: &mut Diagnostics) {
    let mut refuse =
        |field: &str, message: &str, help: &str| diagnostics.error(&at.field(field), "bad-policy", message, help);
    let (is_simple, is_mutual) = (tls.mode == Some(ClientTlsMode::Simple), tls.mode == Some(ClientTlsMode::Mutual));
    let is_secret = !tls.credential_name.is_empty();
    if tls.insecure_skip_verify == Some(true)
        && ((is_simple || is_mutual) && (!tls.ca_certificates.is_empty() || !tls.subject_alt_names.is_empty())
            || is_simple && is_secret)
    {
        refuse("insecureSkipVerify", "nothing is verified, and by these names", "keep one of the two");
    }
    if (is_simple || is_mutual) && is_secret {
        let files = [&tls.client_certificate, &tls.ca_certificates, &tls.private_key, &tls.ca_crl];
        if files.iter().any(|file| !file.is_empty()) {
            refuse("credentialName", "files beside credentialName", "keep one of the two");
        }
        return;
    }
    if is_mutual && tls.client_certificate.is_empty() {
        refuse("clientCertificate", "MUTUAL without a certificate", "add clientCertificate, or credentialName");
    }
    if is_mutual && tls.private_key.is_empty() {
        refuse("privateKey", "MUTUAL without a key", "add privateKey, or credentialName");
    }
}

fn check_tunnel(at: &At<'_>, tunnel: &TunnelSettings, diagnostics: &mut Diagnostics) {
    let TunnelSettings { protocol, target_host, target_port } = tunnel;
    if !["", "CONNECT", "POST"].contains(&protocol.as_str()) {
        let message = format!("`{protocol}` is no protocol of a tunnel");
        diagnostics.error(&at.field("protocol"), "bad-policy", message, "write CONNECT or POST");
    }
    if !names::is_domain(target_host) && target_host.parse::<IpAddr>().is_err() {
        let message = format!("`{target_host}` is not a host");
        diagnostics.error(&at.field("targetHost"), "bad-host", message, "write a DNS name or an IP address");
    }
    if !names::is_port(*target_port) {
        let message = format!("{target_port} is no port");
        diagnostics.error(&at.field("targetPort"), "bad-port", message, "use 1 to 65535");
    }
}

#[cfg(test)]
mod tests {
    use crate::istioctl::testing;

    fn check(policy: &str, expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|finding| format!("spec.trafficPolicy.{finding}")).collect();
        let spec = format!(r#"{{"host": "a", "trafficPolicy": {policy}}}"#);
        testing::check("DestinationRule", &spec, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn a_hash_has_one_key_and_a_table_a_size() {
        let hash = |hash: &str| format!(r#"{{"loadBalancer": {{"consistentHash": {hash}}}}}"#);
        let at = "loadBalancer.consistentHash";
        check(&hash(r#"{"httpHeaderName": "a", "useSourceIp": true}"#), &[&format!("{at}[oneof]")]);
        let twice = r#"{"httpCookie": {"name": "u", "attributes": [{"name": "a"}, {"name": "a"}]}}"#;
        check(&hash(twice), &[&format!("{at}.httpCookie.attributes[1].name[bad-policy]")]);
        check(&hash(r#"{"useSourceIp": true, "maglev": {}}"#), &[&format!("{at}.maglev.tableSize[bad-policy]")]);
        check(&hash(r#"{"useSourceIp": true, "maglev": {"tableSize": 65537}}"#), &[]);
    }

    #[test]
    fn ejection_and_pools_have_limits() {
        check(
            r#"{"outlierDetection": {"maxEjectionPercent": 150, "minHealthPercent": -1, "interval": "100us", "consecutiveLocalOriginFailures": 5}}"#,
            &[
                "outlierDetection.interval[bad-duration]",
                "outlierDetection.maxEjectionPercent[bad-percentage]",
                "outlierDetection.minHealthPercent[bad-percentage]",
                "outlierDetection.consecutiveLocalOriginFailures[bad-policy]",
            ],
        );
        check(
            r#"{"connectionPool": {"tcp": {"maxConnections": -5, "idleTimeout": "0s"}, "http": {"maxRetries": -1, "http2KeepAlive": {"interval": "1s"}}}}"#,
            &[
                "connectionPool.http.maxRetries[bad-policy]",
                "connectionPool.http.http2KeepAlive.timeout[bad-policy]",
                "connectionPool.tcp.maxConnections[bad-policy]",
            ],
        );
        check(
            r#"{"outlierDetection": {"maxEjectionPercent": 100, "consecutiveLocalOriginFailures": 5, "splitExternalLocalOriginErrors": true}}"#,
            &[],
        );
    }

    #[test]
    fn ports_tls_and_tunnels() {
        check(
            r#"{"portLevelSettings": [{"loadBalancer": {"simple": "RANDOM"}}, {"port": {"number": 80}}, {"port": {"number": 80}, "tls": {"mode": "MUTUAL"}}]}"#,
            &[
                "portLevelSettings[0].port[bad-policy]",
                "portLevelSettings[1][empty-policy]",
                "portLevelSettings[2].tls.clientCertificate[bad-policy]",
                "portLevelSettings[2].tls.privateKey[bad-policy]",
            ],
        );
        check(r#"{"tls": {"mode": "MUTUAL", "credentialName": "c"}}"#, &[]);
        check(
            r#"{"tls": {"mode": "SIMPLE", "credentialName": "c", "caCertificates": "f"}}"#,
            &["tls.credentialName[bad-policy]"],
        );
        check(
            r#"{"tunnel": {"protocol": "GET", "targetHost": "a b", "targetPort": 0}}"#,
            &["tunnel.protocol[bad-policy]", "tunnel.targetHost[bad-host]", "tunnel.targetPort[bad-port]"],
        );
        check(
            r#"{"loadBalancer": {"localityLbSetting": {"distribute": [{"from": "a", "to": {"b": 50}}]}, "warmup": {"aggression": 0}}}"#,
            &[
                "loadBalancer.localityLbSetting.distribute[0].to[bad-policy]",
                "loadBalancer.warmup.duration[bad-policy]",
                "loadBalancer.warmup.aggression[bad-policy]",
            ],
        );
    }
}
