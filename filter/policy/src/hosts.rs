//! The Host header picks a virtual host: the exact name first, then the longest wildcard, then `*`.
//!
//! The port in Host is ignored, and so are case and one trailing dot, as istiod configures Envoy
//! (`ignore_port_in_host_matching`, domains in lower case).

use crate::table::Table;

/// A DNS name has at most 253 bytes; anything longer names no host.
pub(crate) const HOST_MAX: usize = 255;

/// Virtual hosts by domain.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostTable {
    exact: Table<u32>,
    /// By what follows the `*`.
    wildcard: Table<u32>,
    /// Whether some wildcard does not begin at a dot (`*-canary.foo.com`).
    inside_labels: bool,
    any: Option<u32>,
}

impl HostTable {
    /// `domain` is a name in lower case, `*.suffix` or `*`.
    pub(crate) fn insert(&mut self, domain: &str, virtual_host: u32) {
        match domain.strip_prefix('*') {
            Some("") => self.any = Some(virtual_host),
            Some(suffix) => {
                self.inside_labels |= !suffix.starts_with('.');
                self.wildcard.insert(suffix.as_bytes(), virtual_host);
            }
            None => self.exact.insert(domain.as_bytes(), virtual_host),
        }
    }

    /// The virtual host for an authority as the client sent it.
    pub(crate) fn find(&self, authority: &[u8]) -> Option<u32> {
        let mut buffer = [0; HOST_MAX];
        self.find_normalised(normalised(authority, &mut buffer)?).map(|(virtual_host, _)| virtual_host)
    }

    /// The same, with the domain that was found, for people.
    pub(crate) fn find_with_domain(&self, authority: &[u8]) -> Option<(u32, String)> {
        let mut buffer = [0; HOST_MAX];
        let (virtual_host, domain) = self.find_normalised(normalised(authority, &mut buffer)?)?;
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        Some((
            virtual_host,
            match domain {
                Domain::Exact(host) => text(host),
                Domain::Wildcard(suffix) => format!("*{}", text(suffix)),
            },
        ))
    }

    fn find_normalised<'h>(&self, host: &'h [u8]) -> Option<(u32, Domain<'h>)> {
        if let Some(found) = self.exact.get(host) {
            return Some((*found, Domain::Exact(host)));
        }
        self.find_wildcard(host).or_else(|| Some((self.any?, Domain::Wildcard(b""))))
    }

    fn find_wildcard<'h>(&self, host: &'h [u8]) -> Option<(u32, Domain<'h>)> {
        if self.wildcard.is_empty() {
            return None;
        }
        // Suffixes from the longest; what the `*` stands for must not be empty.
        let starts = host.iter().enumerate().skip(1).filter(|(_, byte)| self.inside_labels || **byte == b'.');
        let mut suffixes = starts.filter_map(|(at, _)| host.get(at..));
        suffixes.find_map(|suffix| Some((*self.wildcard.get(suffix)?, Domain::Wildcard(suffix))))
    }
}

/// A domain, as the host that was looked up spells it.
enum Domain<'h> {
    Exact(&'h [u8]),
    /// What follows the `*`.
    Wildcard(&'h [u8]),
}

/// In lower case, without port and trailing dot. `None` when too long to be a host.
pub(crate) fn normalised<'b>(authority: &[u8], buffer: &'b mut [u8; HOST_MAX]) -> Option<&'b [u8]> {
    let host = without_port(authority);
    let host = host.strip_suffix(b".").unwrap_or(host);
    let lower = buffer.get_mut(..host.len())?;
    lower.copy_from_slice(host);
    lower.make_ascii_lowercase();
    Some(lower)
}

fn without_port(authority: &[u8]) -> &[u8] {
    let Some(at) = authority.iter().rposition(|byte| *byte == b':') else { return authority };
    let Some((host, port)) = authority.split_at_checked(at) else { return authority };
    let is_port = port.iter().skip(1).all(u8::is_ascii_digit);
    // In `[::1]` the last colon belongs to the address.
    let in_brackets = host.first() == Some(&b'[') && host.last() != Some(&b']');
    if is_port && !in_brackets { host } else { authority }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_wildcard_may_begin_inside_a_label() {
        let mut table = HostTable::default();
        table.insert("*-canary.foo.com", 1);
        table.insert("*.foo.com", 2);
        let found = |host: &str| table.find(host.as_bytes());
        assert_eq!(
            (found("a-canary.foo.com"), found("-canary.foo.com"), found("a.foo.com")),
            (Some(1), Some(2), Some(2))
        );
    }

    fn check(authority: &str, expected: Option<u32>) {
        let mut table = HostTable::default();
        for (host, domain) in (0..).zip(["www.foo.com", "*.foo.com", "*.bar.foo.com", "reviews", "[::1]"]) {
            table.insert(domain, host);
        }
        assert_eq!(table.find(authority.as_bytes()), expected, "{authority}");
        table.insert("*", 9);
        let expected = expected.or((authority.len() <= HOST_MAX).then_some(9));
        assert_eq!(table.find(authority.as_bytes()), expected, "{authority} with *");
    }

    #[test]
    fn exact_beats_the_longest_wildcard_beats_the_shorter() {
        check("www.foo.com", Some(0));
        check("a.foo.com", Some(1));
        check("a.bar.foo.com", Some(2));
        check("bar.foo.com", Some(1));
        check("foo.com", None);
        check(".foo.com", None);
        check("", None);
    }

    #[test]
    fn port_case_and_trailing_dot_are_ignored() {
        check("Reviews:9080", Some(3));
        check("WWW.FOO.COM.:80", Some(0));
        check("reviews.", Some(3));
        check("[::1]:80", Some(4));
        check("[::1]", Some(4));
        check("reviews:http", None);
    }

    #[test]
    fn a_host_longer_than_any_name_finds_nothing() {
        check(&"a".repeat(256), None);
        check(&format!("{}.foo.com", "a.".repeat(100_000)), None);
    }
}
