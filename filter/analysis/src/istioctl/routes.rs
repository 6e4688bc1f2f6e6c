//! `validateHTTPRoute`, as far as nobody else looks.

use super::{names, shared};
use istio_config::diagnostic::At;
use istio_config::virtual_service::{
    Abort, CorsPolicy, Destination, HeaderOperations, HttpFaultInjection, HttpMatchRequest, HttpRoute,
};
use istio_config::{Diagnostics, names as hosts};

/// What `allowMethods` takes.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];

/// Pseudo-headers that a match may look at.
const PSEUDO_HEADERS: [&str; 5] = [":method", ":scheme", ":authority", ":path", ":status"];

pub(super) fn check(at: &At<'_>, rule: &HttpRoute, diagnostics: &mut Diagnostics) {
    let list = at.field("match");
    for (index, block) in rule.r#match.iter().enumerate() {
        check_block(&list.index(index), block, diagnostics);
    }
    if let Some(policy) = &rule.cors_policy {
        check_cors(&at.field("corsPolicy"), policy, diagnostics);
    }
    if let Some(fault) = &rule.fault {
        check_fault(&at.field("fault"), fault, diagnostics);
    }
    check_authority(at, rule, diagnostics);
    check_destinations(at, rule, diagnostics);
    if let Some(pattern) = rule.rewrite.as_ref().and_then(|rewrite| rewrite.uri_regex_rewrite.as_ref())
        && pattern.rewrite.is_empty()
    {
        let (message, help) = ("Istio refuses a rewrite without a text", "write what stands in place of the match");
        let rewrite = at.field("rewrite");
        diagnostics.error(&rewrite.field("uriRegexRewrite").field("rewrite"), "empty-rewrite", message, help);
    }
}

fn check_block(at: &At<'_>, block: &HttpMatchRequest, diagnostics: &mut Diagnostics) {
    let HttpMatchRequest { headers, without_headers, port, source_labels, gateways, source_namespace, .. } = block;
    for (field, names) in [("headers", headers), ("withoutHeaders", without_headers)] {
        let at = at.field(field);
        for name in names.keys() {
            // Claims of a JWT are another subject.
            if !hosts::is_token(name) && !PSEUDO_HEADERS.contains(&name.as_str()) && !name.starts_with('@') {
                let message = format!("`{name}` is not a header name");
                diagnostics.error(&at.key(name), "bad-header-name", message, "use letters, digits and -");
            }
        }
    }
    if let Some(port) = port.filter(|port| *port != 0 && !names::is_port(*port)) {
        diagnostics.error(&at.field("port"), "bad-port", format!("{port} is no port"), "use 1 to 65535");
    }
    shared::labels(&at.field("sourceLabels"), source_labels, diagnostics);
    shared::gateway_names(&at.field("gateways"), gateways, diagnostics);
    if !source_namespace.is_empty() && !names::is_label(source_namespace) {
        let message = format!("`{source_namespace}` cannot be the name of a namespace");
        let help = "use letters, digits and `-`, at most 63";
        diagnostics.error(&at.field("sourceNamespace"), "bad-label", message, help);
    }
}

/// `validateAuthorityRewrite` within `headers`; that `rewrite.authority` stands beside them, the policy reports.
fn check_authority(at: &At<'_>, rule: &HttpRoute, diagnostics: &mut Diagnostics) {
    if rule.rewrite.as_ref().is_some_and(|rewrite| !rewrite.authority.is_empty()) {
        return;
    }
    let Some(request) = rule.headers.as_ref().and_then(|headers| headers.request.as_ref()) else { return };
    let HeaderOperations { set, add, remove: _ } = request;
    let written = set.iter().map(|entry| ("set", entry)).chain(add.iter().map(|entry| ("add", entry)));
    let mut hosts = written.filter(|(_, (name, value))| hosts::is_authority(name) && !value.is_empty());
    let (Some(_), Some((field, (name, _)))) = (hosts.next(), hosts.next()) else { return };
    let at = at.field("headers");
    let at = at.field("request");
    let help = "keep one of them, best as rewrite.authority";
    diagnostics.error(&at.field(field).key(name), "authority-twice", "the rule rewrites the host twice", help);
}

fn check_cors(at: &At<'_>, policy: &CorsPolicy, diagnostics: &mut Diagnostics) {
    let CorsPolicy { allow_methods, allow_headers, expose_headers, max_age, .. } = policy;
    let field = at.field("allowMethods");
    for (index, method) in allow_methods.iter().enumerate().filter(|(_, method)| !METHODS.contains(&method.as_str())) {
        let message = format!("`{method}` is no method that Istio takes here");
        diagnostics.error(&field.index(index), "bad-cors", message, format!("write one of {}", METHODS.join(", ")));
    }
    for (field, names) in [("allowHeaders", allow_headers), ("exposeHeaders", expose_headers)] {
        let field = at.field(field);
        for (index, name) in names.iter().enumerate().filter(|(_, name)| !hosts::is_token(name)) {
            let message = format!("`{name}` is not a header name");
            diagnostics.error(&field.index(index), "bad-cors", message, "one name for each element, or `*`");
        }
    }
    // That it has to be whole seconds, the policy reports.
    let max_age = max_age.filter(|max_age| max_age.0.subsec_nanos() == 0);
    shared::duration(&at.field("maxAge"), max_age, diagnostics);
}

fn check_fault(at: &At<'_>, fault: &HttpFaultInjection, diagnostics: &mut Diagnostics) {
    if let Some(delay) = &fault.delay {
        // Less than a millisecond the policy reports.
        let fixed = delay.fixed_delay.filter(|delay| delay.0.as_millis() > 0);
        shared::duration(&at.field("delay").field("fixedDelay"), fixed, diagnostics);
    }
    if let Some(Abort { grpc_status: Some(status), .. }) = &fault.abort
        && !status.is_empty()
        && status.bytes().all(|byte| byte.is_ascii_digit())
    {
        let message = format!("`{status}`: Istio takes the name of a gRPC status, not its number");
        let at = at.field("abort");
        diagnostics.error(&at.field("grpcStatus"), "bad-status", message, "write a name such as UNAVAILABLE");
    }
}

/// A host that is a name for the rest of this program, and not for Istio: `a_b`, `10.0.0.1`.
fn check_destinations(at: &At<'_>, rule: &HttpRoute, diagnostics: &mut Diagnostics) {
    let mut look_at = |at: &At<'_>, destination: &Destination| {
        let host = &destination.host;
        if host.contains('.') && hosts::is_host(host) && !host.starts_with('*') && !names::is_wildcard_domain(host) {
            let message = format!("`{host}` is no host name");
            let help = "write the name of a service; an address stands in its ServiceEntry";
            diagnostics.error(&at.field("host"), "bad-host", message, help);
        }
    };
    let list = at.field("route");
    for (index, route) in rule.route.iter().enumerate() {
        look_at(&list.index(index).field("destination"), &route.destination);
    }
    if let Some(mirror) = &rule.mirror {
        look_at(&at.field("mirror"), mirror);
    }
    let list = at.field("mirrors");
    for (index, mirror) in rule.mirrors.iter().enumerate() {
        look_at(&list.index(index).field("destination"), &mirror.destination);
    }
}

#[cfg(test)]
mod tests {
    use crate::istioctl::testing;

    /// Findings in the only rule of a VirtualService, below the rule.
    fn check(fields: &str, expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|finding| format!("spec.http[0].{finding}")).collect();
        let spec = format!(r#"{{"hosts": ["a"], "http": [{{{fields}}}]}}"#);
        testing::check("VirtualService", &spec, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_match_looks_at_has_a_name() {
        check(
            r#""match": [{"headers": {"a b": {}, "": {}, ":authority": {}, ":x": {}, "X-1": {}}}]"#,
            &[
                "match[0].headers[][bad-header-name]",
                "match[0].headers[:x][bad-header-name]",
                "match[0].headers[a b][bad-header-name]",
            ],
        );
        check(
            r#""match": [{"withoutHeaders": {"a b": {}}, "port": 70000, "gateways": ["a b"]}]"#,
            &[
                "match[0].withoutHeaders[a b][bad-header-name]",
                "match[0].port[bad-port]",
                "match[0].gateways[0][bad-gateway-name]",
            ],
        );
        check(
            r#""match": [{"sourceLabels": {"a b": "c", "d": "e f"}, "sourceNamespace": "x_y"}]"#,
            &[
                "match[0].sourceLabels[a b][bad-label]",
                "match[0].sourceLabels[d][bad-label]",
                "match[0].sourceNamespace[bad-label]",
            ],
        );
        check(r#""match": [{"port": 0, "sourceLabels": {"app": "x"}, "sourceNamespace": "x"}]"#, &[]);
    }

    #[test]
    fn cors_names_methods_and_headers() {
        check(
            r#""corsPolicy": {"allowMethods": ["GET", "FOO", "get"], "allowHeaders": ["a b", "*", ""], "exposeHeaders": ["a,b"], "maxAge": "0s"}"#,
            &[
                "corsPolicy.allowMethods[1][bad-cors]",
                "corsPolicy.allowMethods[2][bad-cors]",
                "corsPolicy.allowHeaders[0][bad-cors]",
                "corsPolicy.allowHeaders[2][bad-cors]",
                "corsPolicy.exposeHeaders[0][bad-cors]",
                "corsPolicy.maxAge[bad-duration]",
            ],
        );
        check(r#""corsPolicy": {"allowMethods": ["*"], "allowHeaders": ["x-a"], "maxAge": "24h"}"#, &[]);
    }

    #[test]
    fn faults_and_rewrites() {
        check(r#""fault": {"delay": {"fixedDelay": "1500us"}}"#, &["fault.delay.fixedDelay[bad-duration]"]);
        check(r#""fault": {"abort": {"grpcStatus": "14"}}"#, &["fault.abort.grpcStatus[bad-status]"]);
        check(r#""fault": {"abort": {"grpcStatus": "UNAVAILABLE"}, "delay": {"fixedDelay": "2ms"}}"#, &[]);
        check(
            r#""headers": {"request": {"set": {"host": "a"}, "add": {":authority": "b"}}}"#,
            &["headers.request.add[:authority][authority-twice]"],
        );
        check(r#""headers": {"request": {"set": {"host": "a"}, "add": {":authority": ""}}}"#, &[]);
        check(
            r#""rewrite": {"uriRegexRewrite": {"match": "a", "rewrite": ""}}"#,
            &["rewrite.uriRegexRewrite.rewrite[empty-rewrite]"],
        );
    }

    #[test]
    fn destinations_are_names() {
        check(
            r#""route": [{"destination": {"host": "10.0.0.1"}}], "mirror": {"host": "a_b.c"}"#,
            &["route[0].destination.host[bad-host]", "mirror.host[bad-host]"],
        );
    }
}
