//! ServiceEntries: which hosts there are, on which ports, and who answers for them.

use crate::build::ONLY_IN_A_MESH;
use crate::{Discovery, Endpoint, Locality, UpstreamProtocol, syntax};
use istio_config::diagnostic::At;
use istio_config::service_entry::{Resolution, ServicePort, WorkloadEntry};
use istio_config::{Config, Diagnostics, Resource, ServiceEntry, names};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Protocol names of Istio, in lower case (istio `pkg/config/protocol`, `Parse`).
const PROTOCOLS: [&str; 13] = [
    "tcp",
    "udp",
    "grpc",
    "grpc-web",
    "http",
    "http_proxy",
    "http2",
    "https",
    "tls",
    "mongo",
    "redis",
    "mysql",
    "hbone",
];

/// One host with its ports. ServiceEntries that share a host make one service.
pub(crate) struct Service<'a> {
    /// Namespace of the first ServiceEntry with this host.
    pub(crate) namespace: &'a str,
    /// By number; empty when the service cannot be served (which has been reported).
    pub(crate) ports: BTreeMap<u16, Port>,
}

/// One port of a service.
#[derive(Clone, Default)]
pub(crate) struct Port {
    /// Spoken to every endpoint.
    pub(crate) protocol: UpstreamProtocol,
    /// How endpoints are found.
    pub(crate) discovery: Discovery,
    /// Names that the certificates of endpoints carry (`subjectAltNames`).
    pub(crate) names: Vec<String>,
    /// In file order.
    pub(crate) endpoints: Vec<Endpoint>,
}

/// Services by their full host name.
pub(crate) type Services<'a> = BTreeMap<String, Service<'a>>;

/// Reads every ServiceEntry.
pub(crate) fn collect<'a>(config: &'a Config, diagnostics: &mut Diagnostics) -> Services<'a> {
    let mut services = Services::new();
    for entry in &config.service_entries {
        add(&mut services, entry, diagnostics);
    }
    services
}

fn add<'a>(services: &mut Services<'a>, entry: &'a Resource<ServiceEntry>, diagnostics: &mut Diagnostics) {
    let ServiceEntry {
        hosts,
        ports,
        resolution,
        endpoints,
        workload_selector,
        export_to,
        subject_alt_names,
        // Domains under which the service is reached: the policy's subject.
        addresses: _,
        // Decides on mutual TLS and telemetry only, of which there is none here.
        location: _,
    } = &entry.spec;
    let object = At::object(&entry.meta.reference);
    let spec = object.field("spec");
    let mut not_yet = |field: &str, is_set: bool, what: &str| {
        if is_set {
            diagnostics.warning(&spec.field(field), "not-carried-out-yet", what, "remove the field");
        }
    };
    not_yet(
        "exportTo",
        !matches!(export_to.as_slice(), [] | [_] if export_to.iter().all(|to| to == "*")),
        "the service is visible everywhere",
    );

    let at_hosts = spec.field("hosts");
    check_hosts(&at_hosts, hosts, diagnostics);
    let ports = checked_ports(&spec.field("ports"), ports, diagnostics);
    let discovery = discovery(&spec, *resolution, endpoints.len(), workload_selector.is_some(), diagnostics);
    let mut by_port: BTreeMap<u16, Port> = BTreeMap::new();
    if let Some(discovery) = discovery {
        for (number, port) in &ports {
            let protocol = upstream_protocol(&port.protocol);
            let names = subject_alt_names.clone();
            by_port.insert(*number, Port { protocol, discovery, names, endpoints: Vec::new() });
        }
        let list = spec.field("endpoints");
        for (index, endpoint) in endpoints.iter().enumerate() {
            for (number, endpoint) in endpoint_ports(&list.index(index), endpoint, discovery, &ports, diagnostics) {
                by_port.entry(number).or_default().endpoints.push(endpoint);
            }
        }
    }
    let hosts_are_endpoints = discovery.is_some_and(Discovery::is_by_name) && endpoints.is_empty();
    for (index, written) in hosts.iter().enumerate() {
        let host = names::full_host(written, entry.meta.namespace());
        let service = services
            .entry(host.clone())
            .or_insert(Service { namespace: entry.meta.namespace(), ports: BTreeMap::new() });
        if hosts_are_endpoints && !syntax::is_fqdn(written) {
            let message = format!("`{written}` cannot be looked up, and there are no endpoints to ask instead");
            let help = "list names or addresses under `endpoints`";
            diagnostics.error(&at_hosts.index(index), "bad-host", message, help);
            continue;
        }
        for (number, port) in &by_port {
            let mut port = port.clone();
            if hosts_are_endpoints {
                port.endpoints = own_endpoint(written, *number, &ports).into_iter().collect();
            }
            if !merge(service, *number, port) {
                let message =
                    format!("another ServiceEntry has said how `{host}:{number}` is found; this one is left out");
                let help =
                    "give the ServiceEntries of one host the same resolution, and DNS_ROUND_ROBIN one endpoint in all";
                diagnostics.warning(&spec.field("resolution"), "mixed-resolution", message, help);
            }
        }
    }
}

/// Adds the endpoints of a further ServiceEntry to a port; not if the first one finds its endpoints otherwise, or is a
/// logical name, which is one endpoint for ever.
fn merge(service: &mut Service<'_>, number: u16, port: Port) -> bool {
    let mut known = match service.ports.entry(number) {
        Entry::Vacant(place) => {
            place.insert(port);
            return true;
        }
        Entry::Occupied(known) => known,
    };
    let known = known.get_mut();
    let too_many = port.discovery == Discovery::LogicalDns && !known.endpoints.is_empty();
    if known.discovery != port.discovery || too_many {
        return port.endpoints.is_empty();
    }
    known.endpoints.extend(port.endpoints);
    true
}

/// The host as its own endpoint, which carries no labels (istio `convertServiceEntryToInstances`).
fn own_endpoint(host: &str, number: u16, ports: &[(u16, &ServicePort)]) -> Option<Endpoint> {
    let (_, port) = ports.iter().find(|(own, _)| *own == number)?;
    let target = port.target_port.and_then(syntax::port);
    Some(Endpoint {
        address: host.to_ascii_lowercase(),
        port: target.unwrap_or(number),
        weight: 1,
        ..Endpoint::default()
    })
}

fn check_hosts(at: &At<'_>, hosts: &[String], diagnostics: &mut Diagnostics) {
    if hosts.is_empty() {
        diagnostics.error(at, "no-host", "a service without a host", "give it at least one");
    }
    for (index, host) in hosts.iter().enumerate() {
        if host == "*" || !syntax::is_host(host) {
            let message = format!("`{host}` cannot be the host of a service");
            diagnostics.error(&at.index(index), "bad-host", message, "use a DNS name, or `*.` and a suffix");
        }
    }
}

/// The ports that can be used, in file order; what istioctl refuses is reported and left out.
fn checked_ports<'a>(
    at: &At<'_>,
    ports: &'a [ServicePort],
    diagnostics: &mut Diagnostics,
) -> Vec<(u16, &'a ServicePort)> {
    let (mut numbers, mut known_names) = (BTreeSet::new(), BTreeSet::new());
    let mut checked = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let at = at.index(index);
        let ServicePort { number, protocol, name, target_port } = port;
        if !syntax::is_label(name) {
            let message = format!("`{name}` cannot be the name of a port");
            diagnostics.error(&at.field("name"), "bad-port-name", message, "use letters, digits and `-`, at most 63");
        } else if !known_names.insert(name) {
            let message = format!("two ports are called `{name}`");
            diagnostics.error(&at.field("name"), "duplicate-port", message, "give each a name of its own");
        }
        if !protocol.is_empty() && !PROTOCOLS.contains(&protocol.to_ascii_lowercase().as_str()) {
            let message = format!("`{protocol}` is no protocol");
            diagnostics.error(&at.field("protocol"), "bad-protocol", message, "use HTTP, HTTP2 or GRPC");
        }
        if target_port.is_some_and(|port| port != 0 && syntax::port(port).is_none()) {
            diagnostics.error(&at.field("targetPort"), "bad-port", "no TCP port", "use 1 to 65535");
        }
        match syntax::port(*number) {
            None => {
                diagnostics.error(&at.field("number"), "bad-port", format!("{number} is no port"), "use 1 to 65535")
            }
            Some(number) if !numbers.insert(number) => {
                let message = format!("port {number} stands here twice");
                diagnostics.error(&at.field("number"), "duplicate-port", message, "keep one of them");
            }
            Some(number) => checked.push((number, port)),
        }
    }
    checked
}

/// How endpoints are found; `None` where that is not served.
fn discovery(
    spec: &At<'_>,
    resolution: Option<Resolution>,
    endpoints: usize,
    has_selector: bool,
    diagnostics: &mut Diagnostics,
) -> Option<Discovery> {
    if has_selector {
        let at = spec.field("workloadSelector");
        if endpoints > 0 {
            let message = "`workloadSelector` beside `endpoints`";
            diagnostics.error(&at, "selector-and-endpoints", message, "keep one of them");
        } else {
            let help = "list the addresses under `endpoints`";
            let message = "endpoints by labels of workloads: outside a mesh nobody knows the workloads";
            diagnostics.error(&at, ONLY_IN_A_MESH, message, help);
        }
        return None;
    }
    let name = match resolution {
        Some(Resolution::Static) => return Some(Discovery::Static),
        Some(Resolution::Dns) => return Some(Discovery::StrictDns),
        Some(Resolution::DnsRoundRobin) => {
            if endpoints > 1 {
                let message = format!("{endpoints} endpoints; DNS_ROUND_ROBIN takes one at most");
                let help = "keep one of them, or write `resolution: DNS`";
                diagnostics.error(&spec.field("endpoints"), "too-many-endpoints", message, help);
            }
            return Some(Discovery::LogicalDns);
        }
        None | Some(Resolution::None) => {
            "NONE (the default) sends a request where the client's packets were to go, which only a mesh with its redirection knows"
        }
        Some(Resolution::DynamicDns) => "DYNAMIC_DNS is served in a mesh only",
    };
    diagnostics.error(
        &spec.field("resolution"),
        ONLY_IN_A_MESH,
        format!("resolution {name}"),
        "write `resolution: STATIC` and the addresses: `endpoints: [{address: 10.0.0.1, labels: {version: v1}}]`; or `DNS`",
    );
    None
}

/// The endpoint once for each port of the service. Its own port is the one named like the service's, else the service
/// port's `targetPort`, else the service port itself.
fn endpoint_ports(
    at: &At<'_>,
    entry: &WorkloadEntry,
    discovery: Discovery,
    service_ports: &[(u16, &ServicePort)],
    diagnostics: &mut Diagnostics,
) -> Vec<(u16, Endpoint)> {
    let WorkloadEntry { address, ports, labels, network, locality, weight, service_account } = entry;
    for (field, is_set, what) in [
        ("network", !network.is_empty(), "all endpoints are reached directly"),
        ("serviceAccount", !service_account.is_empty(), "there is no mutual TLS of a mesh towards endpoints"),
    ] {
        if is_set {
            diagnostics.warning(&at.field(field), "not-carried-out-yet", what, "remove the field");
        }
    }
    for (name, number) in ports {
        let at = at.field("ports");
        if !service_ports.iter().any(|(_, port)| port.name == *name) {
            let message = format!("the service has no port called `{name}`");
            diagnostics.error(&at.key(name), "unknown-port-name", message, "use the name of one of `spec.ports`");
        }
        if syntax::port(*number).is_none() {
            diagnostics.error(&at.key(name), "bad-port", format!("{number} is no port"), "use 1 to 65535");
        }
    }
    let by_name = discovery.is_by_name();
    let address = match address.parse::<IpAddr>() {
        Ok(ip) => ip.to_string(),
        Err(_) if by_name && syntax::is_fqdn(address) => address.to_ascii_lowercase(),
        Err(_) => {
            let kind = if by_name { "neither an IP address nor a DNS name" } else { "no IP address" };
            let message = if address.is_empty() { "no address".to_owned() } else { format!("`{address}` is {kind}") };
            let help = match by_name {
                true => "write a name without wildcard and port; the port stands under `ports`",
                false => "with `resolution: STATIC` every endpoint has an IP address, with `DNS` it may have a name",
            };
            diagnostics.error(&at.field("address"), "bad-address", message, help);
            return Vec::new();
        }
    };
    let mut endpoints = Vec::new();
    for (number, port) in service_ports {
        let own = ports.get(&port.name).copied().and_then(syntax::port);
        let target = port.target_port.and_then(syntax::port);
        let endpoint = Endpoint {
            address: address.clone(),
            port: own.or(target).unwrap_or(*number),
            weight: weight.filter(|weight| *weight != 0).unwrap_or(1),
            labels: labels.clone(),
            locality: Locality::of(locality, labels),
            priority: 0,
        };
        endpoints.push((*number, endpoint));
    }
    endpoints
}

/// istiod speaks HTTP/2 to ports that declare it (`IsHTTP2`), and HTTP/1.1 to all others.
fn upstream_protocol(declared: &str) -> UpstreamProtocol {
    match declared.to_ascii_lowercase().as_str() {
        "http2" | "grpc" | "grpc-web" => UpstreamProtocol::Http2,
        _ => UpstreamProtocol::Http1,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{build, check_findings};

    fn entry(spec: &str) -> String {
        format!("apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: s}}\nspec: {{{spec}}}\n")
    }

    /// Clusters with their endpoints, as `port host: address:port*weight protocol`.
    fn check(spec: &str, expected: &[&str]) {
        let (plan, _, _) = build(&entry(spec));
        let found: Vec<String> = plan
            .clusters
            .values()
            .map(|cluster| {
                let endpoints: Vec<String> =
                    cluster.endpoints.iter().map(|e| format!("{}:{}*{}", e.address, e.port, e.weight)).collect();
                format!("{}: {} {:?}", cluster.name, endpoints.join(" "), cluster.protocol)
            })
            .collect();
        assert_eq!(found, expected);
    }

    fn refuse(spec: &str, expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|finding| format!("ServiceEntry spec.{finding}")).collect();
        check_findings(&entry(spec), &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn every_host_has_a_cluster_for_every_port() {
        check(
            "hosts: [a, b.com], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}, {number: 90, name: grpc, protocol: GRPC}], endpoints: [{address: 10.0.0.1}]",
            &[
                "outbound|80||a.default.svc.cluster.local: 10.0.0.1:80*1 Http1",
                "outbound|80||b.com: 10.0.0.1:80*1 Http1",
                "outbound|90||a.default.svc.cluster.local: 10.0.0.1:90*1 Http2",
                "outbound|90||b.com: 10.0.0.1:90*1 Http2",
            ],
        );
    }

    #[test]
    fn an_endpoints_port_goes_before_the_target_port_and_that_before_the_services() {
        check(
            "hosts: [a.com], resolution: STATIC, ports: [{number: 80, name: http, targetPort: 8080}, {number: 90, name: http2, protocol: http2}], endpoints: [{address: 10.0.0.1, ports: {http: 1}, weight: 3}, {address: '::1', weight: 0}]",
            &["outbound|80||a.com: 10.0.0.1:1*3 ::1:8080*1 Http1", "outbound|90||a.com: 10.0.0.1:90*3 ::1:90*1 Http2"],
        );
    }

    #[test]
    fn a_service_without_endpoints_has_empty_clusters() {
        check("hosts: [a.com], resolution: STATIC, ports: [{number: 80, name: http}]", &["outbound|80||a.com:  Http1"]);
    }

    #[test]
    fn entries_with_one_host_are_one_service() {
        let one = "{{hosts: [a.com], resolution: STATIC, ports: [{number: 80, name: http}], endpoints: [{address: 10.0.0.1}]}}";
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: s}}\nspec: {one}\n---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: t}}\nspec: {other}\n",
            one = &one[1..one.len() - 1],
            other = one[1..one.len() - 1].replace("10.0.0.1", "10.0.0.2"),
        );
        let (plan, _, _) = build(&text);
        assert_eq!(plan.clusters["outbound|80||a.com"].endpoints.len(), 2);
    }

    const PORT: &str = "ports: [{number: 80, name: http}]";

    #[test]
    fn resolution_by_the_request_is_not_served() {
        for resolution in ["NONE", "DYNAMIC_DNS"] {
            refuse(
                &format!("hosts: [a.com], resolution: {resolution}, {PORT}"),
                &["resolution: error[only-in-a-mesh]"],
            );
        }
        refuse(&format!("hosts: [a.com], {PORT}"), &["resolution: error[only-in-a-mesh]"]);
        refuse(
            &format!("hosts: [a.com], resolution: STATIC, {PORT}, workloadSelector: {{labels: {{a: b}}}}"),
            &["workloadSelector: error[only-in-a-mesh]"],
        );
        refuse(
            &format!(
                "hosts: [a.com], resolution: STATIC, {PORT}, workloadSelector: {{}}, endpoints: [{{address: 10.0.0.1}}]"
            ),
            &["workloadSelector: error[selector-and-endpoints]"],
        );
    }

    #[test]
    fn without_endpoints_each_host_is_looked_up_at_the_target_port() {
        for resolution in ["DNS", "DNS_ROUND_ROBIN"] {
            check(
                &format!(
                    "hosts: [A.com, localhost], resolution: {resolution}, ports: [{{number: 80, name: http, targetPort: 8080}}, {{number: 90, name: grpc, protocol: GRPC}}]"
                ),
                &[
                    "outbound|80||a.com: a.com:8080*1 Http1",
                    "outbound|80||localhost.default.svc.cluster.local: localhost:8080*1 Http1",
                    "outbound|90||a.com: a.com:90*1 Http2",
                    "outbound|90||localhost.default.svc.cluster.local: localhost:90*1 Http2",
                ],
            );
        }
        refuse(&format!("hosts: [a.com, '*.b.com'], resolution: DNS, {PORT}"), &["hosts[1]: error[bad-host]"]);
        // With endpoints a wildcard is a host like any other.
        check(
            &format!(
                "hosts: ['*.b.com'], resolution: DNS, {PORT}, endpoints: [{{address: B.com, weight: 2}}, {{address: '::1'}}]"
            ),
            &["outbound|80||*.b.com: b.com:80*2 ::1:80*1 Http1"],
        );
    }

    #[test]
    fn a_subset_of_a_looked_up_host_is_no_cluster() {
        let text = format!(
            "{}---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: d}}\nspec: {{host: a.com, subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: all}}]}}\n",
            entry(&format!("hosts: [a.com], resolution: DNS, {PORT}"))
        );
        let (plan, _, _) = build(&text);
        assert_eq!(plan.clusters.keys().collect::<Vec<_>>(), ["outbound|80|all|a.com", "outbound|80||a.com"]);
    }

    #[test]
    fn a_logical_name_is_one_endpoint() {
        let two = "endpoints: [{address: a.com}, {address: b.com}]";
        refuse(
            &format!("hosts: [a.com], resolution: DNS_ROUND_ROBIN, {PORT}, {two}"),
            &["endpoints: error[too-many-endpoints]"],
        );
    }

    #[test]
    fn the_first_entry_says_how_a_host_is_found() {
        let check = |resolutions: [&str; 2], addresses: &[&str], warned: bool| {
            let text: String = resolutions
                .iter()
                .zip(["10.0.0.1", "10.0.0.2"])
                .map(|(resolution, address)| {
                    let spec = format!(
                        "hosts: [a.com], resolution: {resolution}, {PORT}, endpoints: [{{address: {address}}}]"
                    );
                    format!("---\n{}", entry(&spec).replace("name: s}", &format!("name: at-{address}}}")))
                })
                .collect();
            let (plan, _, findings) = build(&text);
            let found: Vec<_> =
                plan.clusters["outbound|80||a.com"].endpoints.iter().map(|e| e.address.clone()).collect();
            assert_eq!(found, addresses, "{resolutions:?}");
            let warning = "ServiceEntry spec.resolution: warning[mixed-resolution]";
            assert_eq!(findings, if warned { vec![warning] } else { vec![] }, "{resolutions:?}");
        };
        check(["STATIC", "STATIC"], &["10.0.0.1", "10.0.0.2"], false);
        check(["DNS", "DNS"], &["10.0.0.1", "10.0.0.2"], false);
        check(["STATIC", "DNS"], &["10.0.0.1"], true);
        check(["DNS", "STATIC"], &["10.0.0.1"], true);
        check(["DNS_ROUND_ROBIN", "DNS_ROUND_ROBIN"], &["10.0.0.1"], true);
    }

    #[test]
    fn an_endpoint_found_by_dns_has_a_name_or_an_address() {
        for address in ["'*.a.com'", "unix:///a", "''", "a.com:80"] {
            refuse(
                &format!("hosts: [a.com], resolution: DNS, {PORT}, endpoints: [{{address: {address}}}]"),
                &["endpoints[0].address: error[bad-address]"],
            );
        }
    }

    #[test]
    fn an_endpoint_has_an_ip_address() {
        for address in ["example.com", "unix:///a", "''", "10.0.0.1:80"] {
            refuse(
                &format!("hosts: [a.com], resolution: STATIC, {PORT}, endpoints: [{{address: {address}}}]"),
                &["endpoints[0].address: error[bad-address]"],
            );
        }
    }

    #[test]
    fn an_endpoints_ports_are_the_services() {
        refuse(
            &format!(
                "hosts: [a.com], resolution: STATIC, {PORT}, endpoints: [{{address: 10.0.0.1, ports: {{web: 80}}}}]"
            ),
            &["endpoints[0].ports[web]: error[unknown-port-name]"],
        );
        refuse(
            &format!(
                "hosts: [a.com], resolution: STATIC, {PORT}, endpoints: [{{address: 10.0.0.1, ports: {{http: 0}}}}]"
            ),
            &["endpoints[0].ports[http]: error[bad-port]"],
        );
    }

    #[test]
    fn hosts_and_ports_are_checked_as_istioctl_does() {
        refuse(&format!("resolution: STATIC, {PORT}"), &["hosts: error[no-host]"]);
        refuse(
            &format!("hosts: ['*', 'a b'], resolution: STATIC, {PORT}"),
            &["hosts[0]: error[bad-host]", "hosts[1]: error[bad-host]"],
        );
        refuse(
            "hosts: [a.com], resolution: STATIC, ports: [{number: 80, name: a}, {number: 80, name: a}]",
            &["ports[1].name: error[duplicate-port]", "ports[1].number: error[duplicate-port]"],
        );
        refuse(
            "hosts: [a.com], resolution: STATIC, ports: [{number: 0, name: a_b, protocol: FTP, targetPort: 65536}]",
            &[
                "ports[0].name: error[bad-port-name]",
                "ports[0].protocol: error[bad-protocol]",
                "ports[0].targetPort: error[bad-port]",
                "ports[0].number: error[bad-port]",
            ],
        );
    }

    #[test]
    fn fields_without_effect_are_named() {
        refuse(
            &format!(
                "hosts: [a.com], resolution: STATIC, {PORT}, exportTo: [.], subjectAltNames: [x], endpoints: [{{address: 10.0.0.1, network: net, locality: a/b/c, serviceAccount: s}}]"
            ),
            &[
                "exportTo: warning[not-carried-out-yet]",
                "endpoints[0].network: warning[not-carried-out-yet]",
                "endpoints[0].serviceAccount: warning[not-carried-out-yet]",
            ],
        );
        refuse(
            &format!(
                "hosts: [a.com], resolution: STATIC, {PORT}, exportTo: ['*'], location: MESH_INTERNAL, addresses: [240.0.0.1]"
            ),
            &[],
        );
    }
}
