//! Requests that pass through (`outboundTrafficPolicy: ALLOW_ANY`): each names its endpoint by its Host.
//!
//! Every host becomes a pool of one endpoint, so whatever holds for clusters holds here too. As Envoy's dynamic forward
//! proxy does, so many are known at a time and no more; here the one that was not used for longest makes room.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::rc::Rc;

use envoy_plan::{Cluster, Discovery, Endpoint};

use crate::common::Ledger;
use crate::pool::Pool;
use crate::reply::LocalReply;
use crate::time::Timestamp;

/// Envoy's `DnsCacheConfig.max_hosts`, by default.
const HOSTS_MAX: usize = 1024;

/// Where a request goes that names no port.
const DEFAULT_PORT: u16 = 80;

/// Name or address, and port.
type Host = (String, u16);

/// The hosts that requests have named.
#[derive(Debug)]
pub(crate) struct Passthrough {
    /// What each pool is made of, but for its endpoint.
    template: Cluster,
    /// Shared with the clusters of the plan.
    last_id: Rc<Cell<u64>>,
    /// With the number of the last use of each.
    known: RefCell<BTreeMap<Host, (Rc<Pool>, u64)>>,
    uses: Cell<u64>,
}

impl Passthrough {
    pub(crate) fn new(cluster: &Cluster, last_id: &Rc<Cell<u64>>) -> Self {
        let template = Cluster { discovery: Discovery::Static, endpoints: Vec::new(), ..cluster.clone() };
        Self { template, last_id: Rc::clone(last_id), known: RefCell::default(), uses: Cell::new(0) }
    }

    /// The pool of the host that a request names.
    ///
    /// # Errors
    ///
    /// The answer where this cannot be a host, or where there is no room for another one.
    pub(crate) fn pool(&self, authority: &[u8], now: Timestamp) -> Result<Rc<Pool>, LocalReply> {
        let (host, port) = host_and_port(authority).ok_or(LocalReply::DNS_RESOLUTION_FAILURE)?;
        self.uses.set(self.uses.get().saturating_add(1));
        let mut known = self.known.borrow_mut();
        let key = (host, port);
        if let Some((pool, used)) = known.get_mut(&key) {
            *used = self.uses.get();
            return Ok(Rc::clone(pool));
        }
        if known.len() >= HOSTS_MAX {
            let idle = known.iter().filter(|(_, (pool, _))| Rc::strong_count(pool) == 1);
            let oldest = idle.min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            known.remove(&oldest.ok_or(LocalReply::DNS_CACHE_OVERFLOW)?);
        }
        let endpoint = Endpoint { address: key.0.clone(), port, weight: 1, ..Endpoint::default() };
        let cluster = Cluster { endpoints: vec![endpoint], ..self.template.clone() };
        let pool = Rc::new(Pool::build(&cluster, Ledger::new(&cluster, None), None, &self.last_id, now));
        known.insert(key, (Rc::clone(&pool), self.uses.get()));
        Ok(pool)
    }
}

/// Name or address, in lower case and without brackets, and port. `None` for what is neither.
fn host_and_port(authority: &[u8]) -> Option<Host> {
    let authority = std::str::from_utf8(authority).ok()?;
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return Some((address.to_string(), port(rest.strip_prefix(':'), rest)?));
    }
    let (name, number) = match authority.split_once(':') {
        Some((name, number)) => (name, Some(number)),
        None => (authority, None),
    };
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    (is_name && !name.is_empty()).then_some(())?;
    Some((name.to_ascii_lowercase(), port(number, number.unwrap_or_default())?))
}

/// The port behind the colon; the default where there is neither.
fn port(number: Option<&str>, rest: &str) -> Option<u16> {
    match number {
        Some(number) => number.parse().ok().filter(|port| *port != 0),
        None => rest.is_empty().then_some(DEFAULT_PORT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Choice;
    use envoy_plan::PASSTHROUGH_CLUSTER;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_nanos(0);

    fn passthrough() -> Passthrough {
        let cluster = Cluster {
            name: PASSTHROUGH_CLUSTER.to_owned(),
            connect_timeout: Duration::from_secs(1),
            discovery: Discovery::RequestHost,
            ..Cluster::default()
        };
        Passthrough::new(&cluster, &Rc::default())
    }

    fn endpoint(pool: &Pool) -> (u64, String, u16) {
        let Choice::Turn(turn) = pool.choose(None, &[], 0, None, Timestamp::default(), &mut || 0) else {
            panic!("nobody")
        };
        (turn.endpoint().id(), turn.endpoint().address().to_owned(), turn.endpoint().port())
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port_or_without() {
        let check = |authority: &str, expected: Option<(&str, u16)>| {
            let found = host_and_port(authority.as_bytes());
            assert_eq!(found, expected.map(|(host, port)| (host.to_owned(), port)), "{authority}");
        };
        check("Example.com", Some(("example.com", 80)));
        check("example.com:8080", Some(("example.com", 8080)));
        check("10.0.0.1:81", Some(("10.0.0.1", 81)));
        check("[::1]", Some(("::1", 80)));
        check("[::1]:81", Some(("::1", 81)));
        for none in
            ["", ":80", "a b", "a:", "a:0", "a:65536", "a:http", "a:1:2", "[::1", "[::1]x", "[a]:80", "::1", "a/b"]
        {
            check(none, None);
        }
        assert_eq!(host_and_port(b"\xff"), None);
    }

    #[test]
    fn one_host_is_one_endpoint_whatever_its_case() {
        let passthrough = passthrough();
        let first = passthrough.pool(b"a.com", NOW).unwrap();
        assert_eq!(endpoint(&first), endpoint(&passthrough.pool(b"A.com:80", NOW).unwrap()));
        assert_eq!(endpoint(&first), (1, "a.com".to_owned(), 80));
        assert_eq!(endpoint(&passthrough.pool(b"a.com:81", NOW).unwrap()).0, 2);
        assert_eq!(passthrough.pool(b"a:b", NOW).unwrap_err(), LocalReply::DNS_RESOLUTION_FAILURE);
    }

    #[test]
    fn the_longest_unused_makes_room_and_what_is_in_use_never() {
        let passthrough = passthrough();
        let host = |number: usize| passthrough.pool(format!("h{number}").as_bytes(), NOW);
        let held = host(0).unwrap();
        (1..HOSTS_MAX).for_each(|number| drop(host(number).unwrap()));
        drop(host(1).unwrap());
        drop(host(HOSTS_MAX).unwrap());
        let known = |number: usize| passthrough.known.borrow().contains_key(&(format!("h{number}"), 80));
        assert!(known(0) && known(1) && !known(2) && known(HOSTS_MAX));
        drop(held);
        let all: Vec<_> = (0..HOSTS_MAX).map(|number| host(number).unwrap()).collect();
        assert_eq!(host(HOSTS_MAX).unwrap_err(), LocalReply::DNS_CACHE_OVERFLOW);
        drop(all);
        assert!(host(HOSTS_MAX).is_ok());
    }
}
