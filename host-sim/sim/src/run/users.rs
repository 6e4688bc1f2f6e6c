//! The people of a load: who sends a request, what tells who it is, the cookies he keeps, and whether he met a failure.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use host_abi::HeaderMap;

use crate::chance::Chance;
use crate::engine::{Ended, Given};
use crate::report::UsersMet;
use crate::run::arrivals;
use crate::scenario;

/// All of them.
pub(super) struct Users {
    header: Option<String>,
    keeps_cookies: bool,
    people: Vec<User>,
    /// Whose request is which, of those under way.
    of: BTreeMap<u64, usize>,
    chance: Chance,
    head: HeaderMap,
}

#[derive(Clone, Default)]
struct User {
    came: bool,
    failed: bool,
    cookies: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Users {
    pub(super) fn new(spec: &scenario::Users, seed: u64) -> Self {
        let scenario::Users { count, header, cookies } = spec;
        let people = vec![User::default(); usize::try_from(*count).unwrap_or(usize::MAX)];
        Self {
            header: header.clone(),
            keeps_cookies: *cookies,
            people,
            of: BTreeMap::new(),
            chance: Chance::new(seed, "users"),
            head: HeaderMap::new(),
        }
    }

    /// Where the sender of this request, which is under way, is.
    pub(super) fn address(&self, request: u64) -> Option<SocketAddr> {
        self.of.get(&request).map(|place| arrivals::address(*place as u64))
    }

    /// One of them sends this request; gives the headers that tell who.
    pub(super) fn send(&mut self, request: u64) -> &HeaderMap {
        let place = usize::try_from(self.chance.below(self.people.len() as u64)).unwrap_or(0);
        self.send_as(request, place)
    }

    /// This one sends it.
    pub(super) fn send_as(&mut self, request: u64, place: usize) -> &HeaderMap {
        self.of.insert(request, place);
        self.head.clear();
        if let Some(name) = &self.header {
            self.head.append(name.to_ascii_lowercase(), format!("user-{}", place + 1));
        }
        if let Some(user) = self.people.get_mut(place) {
            user.came = true;
            let pairs: Vec<Vec<u8>> =
                user.cookies.iter().map(|(name, value)| [name, &b"="[..], value].concat()).collect();
            if !pairs.is_empty() {
                self.head.append("cookie", pairs.join(&b"; "[..]));
            }
        }
        &self.head
    }

    /// The request has ended. Gives whose it was.
    pub(super) fn given(&mut self, given: &Given<'_>) -> Option<usize> {
        let place = self.of.remove(&given.cause.request)?;
        let user = self.people.get_mut(place)?;
        user.failed |= given.ended != Ended::Answered || given.status.is_none_or(|status| status >= 500);
        let lines = given.headers.get_all("set-cookie").filter(|_| self.keeps_cookies);
        for line in lines {
            let mut parts = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let Some((name, value)) = parts.next().and_then(pair) else { continue };
            let is_over = parts.any(|part| part.eq_ignore_ascii_case(b"max-age=0"));
            if is_over {
                user.cookies.remove(name);
            } else {
                user.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Some(place)
    }

    /// How many came, and how many of these met a failure.
    pub(super) fn met(&self) -> UsersMet {
        let count = |is: fn(&User) -> bool| self.people.iter().filter(|user| is(user)).count() as u64;
        UsersMet { came: count(|user| user.came), failed: count(|user| user.failed) }
    }
}

fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let place = text.iter().position(|byte| *byte == b'=')?;
    let (name, value) = text.split_at_checked(place)?;
    Some((name.trim_ascii(), value.get(1..)?.trim_ascii())).filter(|(name, _)| !name.is_empty())
}
