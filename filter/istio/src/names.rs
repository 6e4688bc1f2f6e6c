//! Names as Istio builds them: full host names and cluster names.

/// Istio's name of the cluster for requests to hosts that nothing knows, under `outboundTrafficPolicy: ALLOW_ANY`.
pub const PASSTHROUGH_CLUSTER: &str = "PassthroughCluster";

/// The cluster domain unless the mesh says otherwise.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// A host as rules write it, in full: a name without a dot belongs to the rule's namespace, so `reviews` in namespace
/// `a` is `reviews.a.svc.cluster.local`. Anything with a dot stays as it is (`reviews.b` too), and so do `*` and IP
/// addresses (istio `pilot/pkg/model/config.go`, `ResolveShortnameToFQDN`). A dot at the end says no more than that this is all.
pub fn full_host(host: &str, namespace: &str) -> String {
    let literal = host.is_empty() || host.contains(['.', '*', ':']);
    if literal { normalised(host) } else { format!("{}.{namespace}.svc.{CLUSTER_DOMAIN}", host.to_ascii_lowercase()) }
}

/// A host as it is compared: in lower case, and without a dot at its end.
pub fn normalised(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whether a rule may name this host: letters, digits, `-`, `_` and dots, with a `*` at the beginning at most; no port.
pub fn is_host(host: &str) -> bool {
    let name = host.strip_prefix('*').unwrap_or(host);
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    // A `*.` would be everything, once its dot is dropped.
    !host.is_empty() && host.len() <= 255 && name.bytes().all(is_part) && !name.contains("..") && name != "."
}

/// Whether a header of this name is the request's authority, as rules write it.
pub fn is_authority(header: &str) -> bool {
    ["host", ":authority"].iter().any(|name| header.eq_ignore_ascii_case(name))
}

/// Whether headers, cookies and methods may be called so (RFC 9110, section 5.6.2, `token`).
pub fn is_token(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_part)
}

/// Istio's name of a cluster: `outbound|PORT|SUBSET|HOST`, the subset empty for the whole service.
pub fn cluster_name(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// The name of the cluster that asks `then` where `first` fails.
pub fn fallback_cluster(first: &str, then: &str) -> String {
    format!("fallback|{first}|{then}")
}

/// The domains under which a service of the mesh is reached from `namespace`, shortest first after the full one:
/// `name` (same namespace only), `name.namespace`, `name.namespace.svc`. Hosts that are not Kubernetes services have
/// only their own name.
pub fn service_domains(host: &str, namespace: &str) -> Vec<String> {
    let mut domains = vec![host.to_owned()];
    let suffix = format!(".svc.{CLUSTER_DOMAIN}");
    if let Some((name, service_namespace)) = host.strip_suffix(&suffix).and_then(|short| short.split_once('.')) {
        if service_namespace == namespace {
            domains.push(name.to_owned());
        }
        domains.push(format!("{name}.{service_namespace}"));
        domains.push(format!("{name}.{service_namespace}.svc"));
    }
    domains
}

/// Whether an object of `namespace` is seen from another namespace (`exportTo`): nothing and `*` mean everywhere, `.` means
/// its own.
pub fn is_exported(export_to: &[String], namespace: &str, to: &str) -> bool {
    export_to.is_empty()
        || export_to.iter().any(|target| match target.as_str() {
            "*" => true,
            "." => namespace == to,
            name => name == to,
        })
}

/// Whether `pattern` (`*`, `*.suffix` or a plain name) covers `host`. `*.foo.com` does not cover `foo.com`
/// (istio `pkg/config/host/name.go`).
pub fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => pattern == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_gets_the_namespace_and_anything_with_a_dot_stays() {
        assert_eq!(full_host("reviews", "a"), "reviews.a.svc.cluster.local");
        assert_eq!(full_host("reviews.b", "a"), "reviews.b");
        assert_eq!(full_host("*", "a"), "*");
        assert_eq!(full_host("127.0.0.1", "a"), "127.0.0.1");
        assert_eq!(full_host("Foo.com.", "a"), "foo.com");
    }

    #[test]
    fn short_domains_belong_to_services_of_the_mesh() {
        let host = "reviews.a.svc.cluster.local";
        assert_eq!(service_domains(host, "a"), [host, "reviews", "reviews.a", "reviews.a.svc"]);
        assert_eq!(service_domains(host, "b"), [host, "reviews.a", "reviews.a.svc"]);
        assert_eq!(service_domains("example.com", "a"), ["example.com"]);
    }

    #[test]
    fn a_token_is_one_word() {
        assert!(is_token("x-user") && is_token("PATCH") && is_token("__Host-a!~"));
        for name in ["", "a b", "a:b", ":path", "a\"", "a;", "ä", "a\n"] {
            assert!(!is_token(name), "{name}");
        }
    }

    #[test]
    fn export_to_names_namespaces() {
        let seen = |export_to: &[&str], to| {
            is_exported(&export_to.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), "a", to)
        };
        assert!(seen(&[], "b") && seen(&["*"], "b") && seen(&["."], "a") && seen(&["c", "b"], "b"));
        assert!(!seen(&["."], "b") && !seen(&["c"], "a"));
    }

    #[test]
    fn a_wildcard_does_not_cover_its_own_suffix() {
        assert!(covers("*.foo.com", "a.b.foo.com"));
        assert!(!covers("*.foo.com", "foo.com"));
        assert!(covers("*", "foo.com"));
        assert!(!covers("foo.com", "a.foo.com"));
    }
}
