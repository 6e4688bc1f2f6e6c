//! A user stays on a version while weights move (`ShuntPolicy.sticky`).
//!
//! Who the user is stands in the request: the first of header, cookie, query parameter and address that it has. Where it has
//! none, and a cookie is among them, one is made. The version follows from the key, the salt and the weights
//! ([`rendezvous`](crate::rendezvous)), so whoever forges a key becomes another user, and no more than that.

use crate::cookies;
use crate::format::Fact;
use crate::rendezvous::{self, Salt, VersionId};
use crate::request::RequestHead;
use crate::route::RuleId;
use crate::select::Draw;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

/// How the version of a request came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Choice {
    /// By weights, as in Istio.
    #[default]
    ByWeight,
    /// By the user's key.
    ByKey,
    /// By a key that was made with this request.
    ByNewCookie,
    /// The request named it (`allowOverride`).
    ByOverride,
}

/// Who a user is, as a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) header: Option<Box<str>>,
    pub(crate) cookie: Option<Cookie>,
    pub(crate) query_parameter: Option<Box<str>>,
    pub(crate) source_ip: bool,
    pub(crate) salt: Salt,
    pub(crate) override_header: Option<Box<str>>,
    pub(crate) override_cookie: Option<Box<str>>,
}

/// A cookie, with what stands behind its value where it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cookie {
    pub(crate) name: Box<str>,
    /// As in `; Path=/; Max-Age=60`.
    pub(crate) attributes: Box<str>,
}

/// The versions among which one rule's users are divided.
#[derive(Clone, Debug)]
pub(crate) struct StickyTargets {
    pub(crate) keys: Arc<Keys>,
    pub(crate) versions: Box<[Version]>,
}

/// One of them. With weight 0 only testers meet it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) name: Box<str>,
    pub(crate) id: VersionId,
    pub(crate) target: u32,
    pub(crate) weight: u32,
}

/// What a request meets, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) target: u32,
    pub(crate) choice: Choice,
    /// The value of the cookie that is to be made.
    pub(crate) new_cookie: Option<String>,
}

/// How the users of one rule are divided.
#[derive(Clone, Copy, Debug)]
pub struct StickyRule<'p> {
    /// The rule; of several match blocks the first.
    pub rule: &'p RuleId,
    pub(crate) targets: &'p StickyTargets,
}

impl<'p> StickyRule<'p> {
    /// Name and weight of every version, in file order.
    pub fn versions(&self) -> impl Iterator<Item = (&'p str, u32)> + use<'p> {
        self.targets.versions.iter().map(|version| (&*version.name, version.weight))
    }

    /// In which header and which cookie testers name a version.
    pub fn testers(&self) -> (Option<&'p str>, Option<&'p str>) {
        let Keys { override_header, override_cookie, .. } = &*self.targets.keys;
        (override_header.as_deref(), override_cookie.as_deref())
    }

    /// Whether users are the same ones, so that weights alone say who moves: same keys, same salt. What stands in a cookie that
    /// is made, and where testers name a version, says nothing of that.
    pub fn has_users_of(&self, other: &StickyRule<'_>) -> bool {
        self.targets.keys.users() == other.targets.keys.users()
    }
}

impl Cookie {
    /// `set-cookie` with this value.
    pub(crate) fn written(&self, value: &str) -> Vec<u8> {
        format!("{}={value}{}", self.name, self.attributes).into_bytes()
    }

    /// The request's cookies with this one: the request goes on as the next one will come.
    pub(crate) fn added(&self, request: &RequestHead<'_>, value: &str) -> Vec<u8> {
        let mut all = request.values(b"cookie").collect::<Vec<_>>().join(&b"; "[..]);
        if !all.is_empty() {
            all.extend_from_slice(b"; ");
        }
        all.extend_from_slice(self.name.as_bytes());
        all.push(b'=');
        all.extend_from_slice(value.as_bytes());
        all
    }
}

/// What tells users apart.
type Users<'k> = (Option<&'k str>, Option<&'k str>, Option<&'k str>, bool, Salt);

impl Keys {
    fn users(&self) -> Users<'_> {
        let Self { header, cookie, query_parameter, source_ip, salt, override_header: _, override_cookie: _ } = self;
        let cookie = cookie.as_ref().map(|cookie| &*cookie.name);
        (header.as_deref(), cookie, query_parameter.as_deref(), *source_ip, *salt)
    }

    /// The first key that the request has. What is there and empty is no key.
    pub(crate) fn find<'r>(&self, request: &RequestHead<'r>, draws: &mut impl Draw) -> Option<Cow<'r, [u8]>> {
        let header = |name: &str| request.values(name.as_bytes()).find(|value| !value.is_empty());
        let cookie = |cookie: &Cookie| cookies::value(request, &cookie.name);
        let parameter = |name: &str| request.query_parameter(name.as_bytes()).filter(|value| !value.is_empty());
        let written = self.header.as_deref().and_then(header);
        let written = written.or_else(|| self.cookie.as_ref().and_then(cookie));
        let written = written.or_else(|| self.query_parameter.as_deref().and_then(parameter));
        let mut address = || self.source_ip.then(|| draws.fact(Fact::RemoteAddress)).flatten();
        written.map(Cow::Borrowed).or_else(|| address().map(|address| Cow::Owned(without_port(address))))
    }

    /// What the request says where testers name a version: headers first, in their order.
    fn named<'r>(&self, request: &RequestHead<'r>) -> impl Iterator<Item = &'r [u8]> {
        let headers = self.override_header.iter().flat_map(|name| request.values(name.as_bytes()));
        let cookie = self.override_cookie.as_deref().and_then(|name| cookies::value(request, name));
        headers.chain(cookie)
    }
}

impl StickyTargets {
    /// What this request meets. `None`: it has no key and gets none, so that chance decides.
    pub(crate) fn pick(&self, request: &RequestHead<'_>, draws: &mut impl Draw) -> Option<Chosen> {
        let chosen = |target, choice| Chosen { target, choice, new_cookie: None };
        let version = |named: &[u8]| self.versions.iter().find(|version| version.name.as_bytes() == named);
        if let Some(version) = self.keys.named(request).find_map(version) {
            return Some(chosen(version.target, Choice::ByOverride));
        }
        if let Some(key) = self.keys.find(request, draws) {
            return Some(chosen(self.of_user(&key)?, Choice::ByKey));
        }
        self.keys.cookie.as_ref()?;
        let value = format!("{:016x}{:016x}", draws.draw(), draws.draw());
        let target = self.of_user(value.as_bytes())?;
        Some(Chosen { target, choice: Choice::ByNewCookie, new_cookie: Some(value) })
    }

    fn of_user(&self, key: &[u8]) -> Option<u32> {
        let weighted = self.versions.iter().map(|version| (version.id, version.weight));
        let place = rendezvous::choose(self.keys.salt.user(key), weighted)?;
        self.versions.get(place).map(|version| version.target)
    }
}

/// `10.0.0.1:5000` and `[::1]:5000` without the port.
fn without_port(mut address: Vec<u8>) -> Vec<u8> {
    if let Some(at) = address.iter().rposition(|byte| *byte == b':') {
        address.truncate(at);
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::HeaderPair;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_made_cookie_goes_on_with_the_request_behind_those_it_has() {
        let made = Cookie { name: "user".into(), attributes: "; Path=/; Max-Age=60; Secure".into() };
        let added =
            |pairs: &[HeaderPair<'_>]| String::from_utf8_lossy(&made.added(&RequestHead::new(pairs), "7")).into_owned();
        assert_eq!(added(&[]), "user=7");
        assert_eq!(added(&[(b"cookie", b"a=1; b=2"), (b"cookie", b"c=3")]), "a=1; b=2; c=3; user=7");
        assert_eq!(made.written("7"), b"user=7; Path=/; Max-Age=60; Secure");
    }

    #[test]
    fn an_address_is_a_key_without_its_port() {
        assert_eq!(without_port(b"10.0.0.1:5000".to_vec()), b"10.0.0.1");
        assert_eq!(without_port(b"[::1]:5000".to_vec()), b"[::1]");
    }
}
