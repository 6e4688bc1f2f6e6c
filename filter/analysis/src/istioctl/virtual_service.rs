//! `ValidateVirtualService`, as far as nobody else looks.

use super::shared::{self, Exporter};
use super::{names, routes};
use istio_config::diagnostic::At;
use istio_config::{Diagnostics, Resource, VirtualService, names as hosts};
use std::net::IpAddr;

pub(super) fn check(resource: &Resource<VirtualService>, diagnostics: &mut Diagnostics) {
    let VirtualService { hosts, gateways, http, tls, tcp, export_to } = &resource.spec;
    let object = At::object(&resource.meta.reference);
    let spec = object.field("spec");
    let is_delegate = hosts.is_empty();
    let in_delegate =
        [("gateways", !gateways.is_empty()), ("tls", !tls.is_empty()), ("tcp", !tcp.is_empty())].into_iter();
    for (field, _) in in_delegate.filter(|(_, present)| *present && is_delegate) {
        let message = format!("a VirtualService without hosts is a delegate, and has no {field}");
        diagnostics.error(&spec.field(field), "conflict", message, "say it in the root, or name the hosts");
    }
    shared::gateway_names(&spec.field("gateways"), gateways, diagnostics);
    check_hosts(&spec.field("hosts"), hosts, diagnostics);
    let list = spec.field("http");
    for (index, rule) in http.iter().enumerate() {
        routes::check(&list.index(index), rule, diagnostics);
    }
    shared::export_to(&spec.field("exportTo"), resource.meta.namespace(), export_to, Exporter::Rules, diagnostics);
}

fn check_hosts(at: &At<'_>, list: &[String], diagnostics: &mut Diagnostics) {
    let mut all_sound = true;
    for (index, host) in list.iter().enumerate() {
        if names::is_wildcard_domain(host) || host.parse::<IpAddr>().is_ok() {
            continue;
        }
        all_sound = false;
        // What is no host at all, the policy reports.
        if hosts::is_host(host) {
            let message = format!("`{host}` is not a host");
            let help = "each part has letters, digits and `-`, and at both ends a letter or digit";
            diagnostics.error(&at.index(index), "bad-host", message, help);
        }
    }
    if !all_sound {
        return;
    }
    for (index, host) in list.iter().enumerate() {
        let twin = list.iter().take(index).find(|earlier| overlap(earlier, host));
        // The same text twice, the policy reports.
        if let Some(twin) = twin.filter(|twin| *twin != host) {
            let message = format!("`{host}` and `{twin}` are duplicate hosts: one covers the other");
            diagnostics.error(&at.index(index), "duplicate-host", message, "keep the wider one, or write two objects");
        }
    }
}

/// istio `host.Name.Matches`.
fn overlap(one: &str, other: &str) -> bool {
    match (one.strip_prefix('*'), other.strip_prefix('*')) {
        (Some(one), Some(other)) => one.ends_with(other) || other.ends_with(one),
        (Some(one), None) => other.ends_with(one),
        (None, Some(other)) => one.ends_with(other),
        (None, None) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use crate::istioctl::testing;

    const RULE: &str = r#""http": [{"route": [{"destination": {"host": "a"}}]}]"#;

    fn check(fields: &str, expected: &[&str]) {
        testing::check("VirtualService", &format!("{{{fields}, {RULE}}}"), expected);
    }

    #[test]
    fn hosts_do_not_overlap() {
        check(r#""hosts": ["*.foo.com", "b.foo.com"]"#, &["spec.hosts[1][duplicate-host]"]);
        check(r#""hosts": ["a.com", "*"]"#, &["spec.hosts[1][duplicate-host]"]);
        check(r#""hosts": ["*.foo.com", "foo.com", "10.0.0.1"]"#, &[]);
        check(r#""hosts": ["a_b.com", "*.com"]"#, &["spec.hosts[0][bad-host]"]);
    }

    #[test]
    fn gateways_and_namespaces_have_names() {
        check(r#""hosts": ["a"], "gateways": ["a/b/c"]"#, &["spec.gateways[0][bad-gateway-name]"]);
        check(r#""hosts": ["a"], "gateways": ["a b"]"#, &["spec.gateways[0][bad-gateway-name]"]);
        check(r#""hosts": ["a"], "gateways": ["mesh", "g", "a/b", "g.a"]"#, &[]);
        check(r#""hosts": ["a"], "exportTo": ["?"]"#, &["spec.exportTo[0][bad-export-to]"]);
        check(r#""hosts": ["a"], "exportTo": [".", "*"]"#, &["spec.exportTo[bad-export-to]"]);
        check(
            r#""hosts": ["a"], "exportTo": [".", "default", "~"]"#,
            &["spec.exportTo[1][bad-export-to]", "spec.exportTo[2][bad-export-to]"],
        );
        check(r#""hosts": ["a"], "exportTo": ["a", "b"]"#, &[]);
    }

    #[test]
    fn a_delegate_has_rules_and_no_more() {
        check(r#""gateways": ["g"]"#, &["spec.gateways[conflict]"]);
    }
}
