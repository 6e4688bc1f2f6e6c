//! What of a request is hashed: the keys of its profile, one after the other, as Envoy's `hash_policy` has it.
//!
//! The hash of each key that is there is put together with those before it, which are rotated by one bit first. A cookie that
//! is missing is made if the rule says for how long: of the two ends of the connection, so that all requests on it get the same.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use envoy_plan::{HashCookie, HashKey};
use twox_hash::XxHash64;

use crate::hash_cookie;

/// Hands over each header's name and value.
pub type EachHeader<'a> = dyn Fn(&mut dyn FnMut(&'a [u8], &'a [u8])) + 'a;

/// Where a request comes from, for keys that are not in what [`crate::Ask`] reads.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Calls back with each header of the request as the filter left it, names in lower case, in order.
    pub headers: &'a EachHeader<'a>,
    /// The client's address as [`client_address`] says it.
    pub client: IpAddr,
    /// The far end of the connection.
    pub remote: SocketAddr,
    /// The near end of the connection.
    pub local: SocketAddr,
}

impl<'a> Source<'a> {
    /// Every value of a header, in order.
    fn each(&self, name: &str, visit: &mut dyn FnMut(&'a [u8])) {
        (self.headers)(&mut |own, value| {
            if own == name.as_bytes() {
                visit(value);
            }
        });
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { headers: _, client, remote, local } = self;
        f.debug_struct("Source").field("client", client).field("remote", remote).field("local", local).finish()
    }
}

/// Who a request is from: the last address that `x-forwarded-for` names, as it arrives, or the one that it arrives from. As istiod
/// sets up a sidecar (`use_remote_address: false`, no trusted hops). The header names no port, so that is 0 then, as in Envoy.
pub fn client_address(forwarded_for: Option<&[u8]>, remote: SocketAddr) -> SocketAddr {
    let last = forwarded_for.and_then(|list| list.rsplit(|byte| *byte == b',').next());
    let text = last.and_then(|last| std::str::from_utf8(last.trim_ascii()).ok());
    text.and_then(|text| text.parse().ok()).map_or(remote, |address| SocketAddr::new(address, 0))
}

/// The hash of a key alone.
pub(crate) fn hash_of(key: &[u8]) -> u64 {
    XxHash64::oneshot(0, key)
}

/// The hash of all keys that the request has; `None` without any. Cookies that are made, as `set-cookie` has them, are added to
/// `made`.
pub(crate) fn hash(keys: &[HashKey], source: &Source<'_>, made: &mut Vec<String>) -> Option<u64> {
    keys.iter().fold(None, |before, key| match (before, of_key(key, source, made)) {
        (Some(before), Some(hash)) => Some(u64::rotate_left(before, 1) ^ hash),
        (before, hash) => hash.or(before),
    })
}

fn of_key(key: &HashKey, source: &Source<'_>, made: &mut Vec<String>) -> Option<u64> {
    match key {
        HashKey::Header(name) => of_header(name, source),
        HashKey::Cookie(cookie) => of_cookie(cookie, source, made),
        HashKey::SourceIp => Some(of_text(&source.client)),
        HashKey::QueryParameter(name) => {
            let mut path = None;
            source.each(":path", &mut |value| path = Some(value));
            parameter(path?, name.as_bytes()).map(hash_of)
        }
    }
}

/// Several values are sorted, and the hash of each is the seed of the next (`HashUtil::xxHash64` of a span).
fn of_header(name: &str, source: &Source<'_>) -> Option<u64> {
    // Envoy has Host under both names.
    let name = if name == "host" { ":authority" } else { name };
    let (mut first, mut several) = (None, Vec::new());
    source.each(name, &mut |value| match first {
        None => first = Some(value),
        Some(first) => {
            if several.is_empty() {
                several.push(first);
            }
            several.push(value);
        }
    });
    if several.is_empty() {
        return first.map(hash_of);
    }
    several.sort_unstable();
    Some(several.iter().fold(0, |seed, value| XxHash64::oneshot(seed, value)))
}

fn of_cookie(cookie: &HashCookie, source: &Source<'_>, made: &mut Vec<String>) -> Option<u64> {
    let HashCookie { name, path: _, ttl, attributes: _ } = cookie;
    let mut found = None;
    source.each("cookie", &mut |value| found = found.or_else(|| hash_cookie::value_in(value, name.as_bytes())));
    if let Some(value) = found.filter(|value| !value.is_empty()) {
        return Some(hash_of(value));
    }
    ttl.as_ref()?;
    let Source { remote, local, .. } = source;
    let value = format!("{:016x}", hash_of(format!("{remote}{local}").as_bytes()));
    made.push(hash_cookie::set_cookie(cookie, &value));
    Some(hash_of(value.as_bytes()))
}

/// The first value of a query parameter, nothing decoded.
fn parameter<'a>(path: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let query = path.get(path.iter().position(|byte| *byte == b'?')?.saturating_add(1)..)?;
    let mut parameters = query.split(|byte| *byte == b'&').map(|parameter| {
        let equals = parameter.iter().position(|byte| *byte == b'=').unwrap_or(parameter.len());
        let value = parameter.get(equals.saturating_add(1)..).unwrap_or_default();
        (parameter.get(..equals).unwrap_or_default(), value)
    });
    parameters.find(|(own, _)| *own == name).map(|(_, value)| value)
}

/// The hash of what is written, without writing it to the heap.
fn of_text(value: &dyn fmt::Display) -> u64 {
    struct Written([u8; 64], usize);
    impl Write for Written {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let Self(bytes, length) = self;
            let end = length.saturating_add(text.len());
            bytes.get_mut(*length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
            *length = end;
            Ok(())
        }
    }
    let mut written = Written([0; 64], 0);
    // An address has at most 45 letters.
    let _ = write!(written, "{value}");
    let Written(bytes, length) = written;
    hash_of(bytes.get(..length).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const FAR: &str = "10.1.2.3:4567";

    /// The hash of these keys in a request with these headers.
    fn of(keys: &[HashKey], head: &[(&str, &str)]) -> (Option<u64>, Vec<String>) {
        let source = Source {
            headers: &|visit| head.iter().for_each(|(name, value)| visit(name.as_bytes(), value.as_bytes())),
            client: "10.9.9.9".parse().unwrap(),
            remote: FAR.parse().unwrap(),
            local: "10.0.0.1:80".parse().unwrap(),
        };
        let mut made = Vec::new();
        (hash(keys, &source, &mut made), made)
    }

    fn header(name: &str) -> HashKey {
        HashKey::Header(name.to_owned())
    }

    fn cookie(path: &str, ttl: Option<u64>, attributes: &[(&str, &str)]) -> HashKey {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let ttl = ttl.map(Duration::from_millis);
        HashKey::Cookie(HashCookie { name: "user".to_owned(), path: path.to_owned(), ttl, attributes })
    }

    #[test]
    fn a_header_is_hashed_with_all_its_values_in_any_order() {
        let key = [header("x-user")];
        assert_eq!(of(&key, &[("x-user", "ann")]).0, Some(hash_of(b"ann")));
        assert_eq!(
            of(&key, &[("x-user", "bob"), ("y", ""), ("x-user", "ann")]).0,
            Some(XxHash64::oneshot(hash_of(b"ann"), b"bob"))
        );
        assert_eq!(of(&key, &[("x-user", "")]).0, Some(hash_of(b"")));
        assert_eq!(of(&key, &[("x-other", "ann")]).0, None);
        assert_eq!(of(&[header("host")], &[(":authority", "a.com")]).0, Some(hash_of(b"a.com")));
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let key = [cookie("", None, &[])];
        for (value, expected) in [
            ("user=ann", Some(&b"ann"[..])),
            ("a=b;  user=\"ann\"; user=bob", Some(b"ann")),
            ("a; user=a=b", Some(b"a=b")),
            ("user=", None),
            ("user=\"\"", None),
            ("user=\"", Some(b"\"")),
            ("xuser=ann; user =ann", None),
            ("", None),
        ] {
            assert_eq!(of(&key, &[("cookie", value)]), (expected.map(hash_of), vec![]), "{value}");
        }
        assert_eq!(of(&key, &[("cookie", "a=b"), ("cookie", "user=ann")]).0, Some(hash_of(b"ann")));
    }

    #[test]
    fn a_cookie_that_is_missing_is_made_of_the_connection() {
        let value = format!("{:016x}", hash_of(b"10.1.2.3:456710.0.0.1:80"));
        let check = |key: HashKey, rest: &str| {
            for head in [&[][..], &[("cookie", "user=")]] {
                let (hash, made) = of(std::slice::from_ref(&key), head);
                assert_eq!((hash, made), (Some(hash_of(value.as_bytes())), vec![format!("user=\"{value}\"{rest}")]));
            }
        };
        check(cookie("", Some(0), &[]), "; HttpOnly");
        check(cookie("", Some(999), &[]), "; HttpOnly");
        check(
            cookie("/shop", Some(60_500), &[("SameSite", "Lax"), ("Secure", "")]),
            "; Max-Age=60; Path=/shop; SameSite=Lax; Secure; HttpOnly",
        );
    }

    #[test]
    fn a_query_parameter_is_taken_as_it_stands() {
        let key = [HashKey::QueryParameter("u".to_owned())];
        for (path, expected) in [
            ("/?u=ann", Some(&b"ann"[..])),
            ("/?a=1&u=%61&u=b", Some(b"%61")),
            ("/?u", Some(b"")),
            ("/?a?u=1&u=a=b", Some(b"a=b")),
            ("/?", None),
            ("/u=1", None),
            ("/?uu=1&&", None),
        ] {
            assert_eq!(of(&key, &[(":path", path)]).0, expected.map(hash_of), "{path}");
        }
    }

    #[test]
    fn the_client_is_who_the_last_proxy_saw() {
        assert_eq!(of(&[HashKey::SourceIp], &[]).0, Some(hash_of(b"10.9.9.9")));
        let remote: SocketAddr = "10.0.0.9:80".parse().unwrap();
        for (list, expected) in [
            (None, "10.0.0.9"),
            (Some("1.2.3.4"), "1.2.3.4"),
            (Some("1.2.3.4, 5.6.7.8"), "5.6.7.8"),
            (Some("1.2.3.4,::1"), "::1"),
            (Some("1.2.3.4, x"), "10.0.0.9"),
            (Some(""), "10.0.0.9"),
        ] {
            assert_eq!(client_address(list.map(str::as_bytes), remote).ip().to_string(), expected, "{list:?}");
        }
    }

    #[test]
    fn keys_are_put_together_in_their_order() {
        let (one, two) = (hash_of(b"1"), hash_of(b"2"));
        let head = [("a", "1"), ("b", "2")];
        assert_eq!(of(&[header("a"), header("b")], &head).0, Some(one.rotate_left(1) ^ two));
        assert_eq!(of(&[header("b"), header("a")], &head).0, Some(two.rotate_left(1) ^ one));
        assert_eq!(of(&[header("a"), header("a")], &head).0, Some(one.rotate_left(1) ^ one));
        assert_eq!(of(&[header("a"), header("c"), header("b")], &head).0, Some(one.rotate_left(1) ^ two));
        assert_eq!(of(&[header("c")], &head).0, None);
        assert_eq!(of(&[], &head).0, None);
    }
}
