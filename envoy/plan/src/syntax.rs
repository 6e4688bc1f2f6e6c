//! Names as Kubernetes takes them: the checks that `istioctl validate` makes on hosts, subsets and port names.

/// Longest label of a DNS name.
const LABEL_MAX: usize = 63;

/// Longest DNS name.
const NAME_MAX: usize = 255;

/// Whether `name` is a label of RFC 1123 (istio `pkg/config/labels`, `IsDNS1123Label`, which takes upper case too).
pub(crate) fn is_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= LABEL_MAX && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().copied().all(inner)
}

/// Whether `host` is a DNS name, a `*.suffix` wildcard among them (istio `ValidateWildcardDomain`). The last label
/// may be empty: `foo.com.` is a name too.
pub(crate) fn is_host(host: &str) -> bool {
    // A `*.` would be everything, once its dot is dropped.
    if host.is_empty() || host.len() > NAME_MAX || host == "*." {
        return false;
    }
    let (first, rest) = host.split_once('.').unwrap_or((host, ""));
    let first_is_sound = first == "*" || is_label(first.strip_prefix("*-").unwrap_or(first));
    let rest = rest.strip_suffix('.').unwrap_or(rest);
    first_is_sound && (rest.is_empty() || rest.split('.').all(is_label))
}

/// Whether `name` is one that DNS can be asked for: no wildcard, and nothing like an address (istio `ValidateFQDN`). The
/// last label may be empty.
pub fn is_fqdn(name: &str) -> bool {
    let labels = name.strip_suffix('.').unwrap_or(name);
    let top = name.rsplit('.').next().unwrap_or_default();
    let looks_like_address = !top.is_empty() && top.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= NAME_MAX && !looks_like_address && labels.split('.').all(is_label)
}

/// `number` as a TCP port; `None` for 0 and for anything above 65535.
pub(crate) fn port(number: u32) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_dns() {
        for name in ["v1", "V1", "a", "1", "a-b", &"a".repeat(63)] {
            assert!(is_label(name), "{name}");
        }
        for name in ["", "-a", "a-", "v_1", "v.1", "ü", &"a".repeat(64)] {
            assert!(!is_label(name), "{name}");
        }
    }

    #[test]
    fn names_for_dns_have_neither_star_nor_number_on_top() {
        for name in ["localhost", "a.example.com", "a.example.com.", "1.example", "A-b.c"] {
            assert!(is_fqdn(name), "{name}");
        }
        for name in ["", ".", "*.a.com", "*", "10.0.0.1", "a.1", "unix:///a", "a..b", "a_b.com", "::1", "a.com:80"] {
            assert!(!is_fqdn(name), "{name}");
        }
    }

    #[test]
    fn hosts_may_begin_with_a_star() {
        for host in
            ["reviews", "reviews.a.svc.cluster.local", "*.foo.com", "*-canary.foo.com", "*", "foo.com.", "10.0.0.1"]
        {
            assert!(is_host(host), "{host}");
        }
        for host in ["", "a..b", "foo.*.com", "*foo.com", "a b", "http://a", ".foo"] {
            assert!(!is_host(host), "{host}");
        }
    }
}
