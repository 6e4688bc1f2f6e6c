//! `ValidateServiceEntry`, as far as nobody else looks.

use super::names;
use super::shared::{self, Exporter};
use istio_config::diagnostic::At;
use istio_config::service_entry::Resolution;
use istio_config::{Diagnostics, Resource, ServiceEntry};

pub(super) fn check(resource: &Resource<ServiceEntry>, diagnostics: &mut Diagnostics) {
    let ServiceEntry { hosts, addresses, ports, resolution, endpoints, workload_selector, export_to, .. } =
        &resource.spec;
    let object = At::object(&resource.meta.reference);
    let spec = object.field("spec");
    if let Some(selector) = workload_selector {
        shared::selector(&spec.field("workloadSelector").field("labels"), &selector.labels, diagnostics);
    }
    let resolution = resolution.unwrap_or(Resolution::None);
    let field = spec.field("addresses");
    for (index, address) in addresses.iter().enumerate() {
        let at = field.index(index);
        if !names::is_address_or_range(address) {
            let message = format!("`{address}` is neither an IP address nor a range of them");
            diagnostics.error(&at, "bad-address", message, "write it as 10.0.0.1 or 10.0.0.0/24");
        } else if address.contains('/') && !matches!(resolution, Resolution::None | Resolution::Static) {
            let message = "a range of addresses is for resolution NONE and STATIC only";
            diagnostics.error(&at, "bad-address", message, "write single addresses");
        }
    }
    let is_told_by_host = |protocol: &str| {
        let protocol = protocol.to_lowercase();
        ["http", "http2", "http_proxy", "grpc", "grpc-web", "https", "tls"].contains(&protocol.as_str())
    };
    let nameless = ports.iter().position(|port| !is_told_by_host(&port.protocol));
    if let Some(index) = nameless.filter(|_| resolution != Resolution::None && hosts.len() > 1) {
        let message = "several hosts on a port whose protocol does not tell them apart";
        let help = "write protocol HTTP, or one ServiceEntry for each host";
        diagnostics.error(&spec.field("ports").index(index).field("protocol"), "conflict", message, help);
    }
    let list = spec.field("endpoints");
    for (index, endpoint) in endpoints.iter().enumerate() {
        shared::labels(&list.index(index).field("labels"), &endpoint.labels, diagnostics);
    }
    let namespace = resource.meta.namespace();
    shared::export_to(&spec.field("exportTo"), namespace, export_to, Exporter::Service, diagnostics);
}

#[cfg(test)]
mod tests {
    use crate::istioctl::testing;

    fn check(fields: &str, expected: &[&str]) {
        testing::check("ServiceEntry", &format!(r#"{{"resolution": "STATIC", {fields}}}"#), expected);
    }

    #[test]
    fn addresses_labels_and_namespaces() {
        check(
            r#""hosts": ["a"], "addresses": ["1.2.3.4/99", "a.com", "10.0.0.1", "10.0.0.0/8"]"#,
            &["spec.addresses[0][bad-address]", "spec.addresses[1][bad-address]"],
        );
        check(
            r#""hosts": ["a"], "endpoints": [{"address": "1.2.3.4", "labels": {"a b": "c"}}]"#,
            &["spec.endpoints[0].labels[a b][bad-label]"],
        );
        check(r#""hosts": ["a"], "exportTo": ["~"]"#, &[]);
        check(r#""hosts": ["a"], "exportTo": ["~", "a"]"#, &["spec.exportTo[bad-export-to]"]);
    }

    #[test]
    fn several_hosts_need_a_protocol_that_names_them() {
        let ports = |protocol: &str| format!(r#""ports": [{{"number": 80, "name": "p", "protocol": "{protocol}"}}]"#);
        check(&format!(r#""hosts": ["a", "b"], {}"#, ports("")), &["spec.ports[0].protocol[conflict]"]);
        check(&format!(r#""hosts": ["a", "b"], {}"#, ports("HTTP")), &[]);
        check(&format!(r#""hosts": ["a"], {}"#, ports("TCP")), &[]);
    }
}
