//! Names as Istio takes them (istio `pkg/config/labels`, `pkg/config/validation/agent`).

use std::net::IpAddr;

const LABEL_MAX: usize = 63;
const NAME_MAX: usize = 255;
/// Longest domain in front of the name of a label.
const LABEL_DOMAIN_MAX: usize = 253;

/// A label of RFC 1123, upper case too (`IsDNS1123Label`).
pub(super) fn is_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= LABEL_MAX && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().copied().all(inner)
}

/// A domain that may begin with a star (`ValidateWildcardDomain`).
pub(super) fn is_wildcard_domain(name: &str) -> bool {
    let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
    let star = first.strip_prefix("*-").or_else(|| first.strip_prefix('*'));
    let is_first = first == "*" || first.len() <= LABEL_MAX && is_label(star.unwrap_or(first));
    !name.is_empty() && name.len() <= NAME_MAX && is_first && rest.is_none_or(are_labels)
}

/// A domain without a star (`ValidateFQDN`); a single label is one too.
pub(super) fn is_domain(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_MAX && are_labels(name)
}

/// `ValidateDNS1123Labels`: the last one is no number, and may be empty.
fn are_labels(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_number = last.strip_prefix(['+', '-']).unwrap_or(last).parse::<u64>().is_ok();
    let labels = name.strip_suffix('.').unwrap_or(name);
    !is_number && (labels.is_empty() || labels.split('.').all(is_label))
}

/// An IP address, or a range of them as `10.0.0.0/8`.
pub(super) fn is_address_or_range(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return text.parse::<IpAddr>().is_ok() };
    let is_short = !bits.is_empty() && (bits == "0" || !bits.starts_with(['0', '+']));
    match (address.parse::<IpAddr>(), bits.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(bits)) => is_short && bits <= 32,
        (Ok(IpAddr::V6(_)), Ok(bits)) => is_short && bits <= 128,
        _ => false,
    }
}

/// The key of a label: a name, maybe with a domain and `/` in front (`validateTagKey`).
pub(super) fn is_label_key(key: &str) -> bool {
    let (domain, name) = key.rsplit_once('/').map_or((None, key), |(domain, name)| (Some(domain), name));
    let is_domain = domain.is_none_or(|domain| domain.len() <= LABEL_DOMAIN_MAX && domain.split('.').all(is_label));
    is_domain && !name.is_empty() && name.len() <= LABEL_MAX && is_qualified(name)
}

/// The value of a label; may be empty.
pub(super) fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_qualified(value)
}

fn is_qualified(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let bytes = text.as_bytes();
    edge(bytes.first()) && edge(bytes.last()) && bytes.iter().copied().all(inner)
}

/// A TCP port.
pub(super) fn is_port(number: u32) -> bool {
    (1..=65535).contains(&number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_istios() {
        for name in ["a", "*", "*.a.com", "*a", "*-a.b", "a.com.", "A.b", "1"] {
            assert!(is_wildcard_domain(name), "{name}");
        }
        for name in ["", "a_b.c", "a.*.c", "10.0.0.1", "a:80", "a..b", "**", "-a"] {
            assert!(!is_wildcard_domain(name), "{name}");
        }
        assert!(is_domain("a") && is_domain("a.b.") && !is_domain("*.a") && !is_domain("1"));
        for key in ["app", "a.b/c_d", "app.kubernetes.io/name", "x-1"] {
            assert!(is_label_key(key), "{key}");
        }
        for key in ["", "a b", "/a", "a/", "a_b/c", "-a", "a/b/c"] {
            assert!(!is_label_key(key), "{key}");
        }
        assert!(is_label_value("") && is_label_value("v1.2_x") && !is_label_value("a b") && !is_label_value("v1-"));
        for text in ["10.0.0.1", "::1", "10.0.0.0/8", "::/0"] {
            assert!(is_address_or_range(text), "{text}");
        }
        for text in ["a", "10.0.0.1/33", "10.0.0.0/", "10.0.0.0/08", "10.0.0/8", "1/2/3"] {
            assert!(!is_address_or_range(text), "{text}");
        }
    }
}
