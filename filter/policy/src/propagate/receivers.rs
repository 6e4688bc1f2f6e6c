//! Which hosts may get what is kept.

use crate::hosts::{self, HOST_MAX};
use istio_config::names;
use std::collections::BTreeSet;

/// The hosts of one policy's `to`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Receivers {
    /// Names in full, in lower case.
    names: BTreeSet<Box<str>>,
    /// Wildcards, likewise.
    wildcards: Vec<Box<str>>,
    /// What else the names are called by those who ask for them.
    short: BTreeSet<Box<str>>,
    /// Namespace of the proxy.
    namespace: Box<str>,
}

impl Receivers {
    /// `hosts` in full, for a proxy in `namespace`.
    pub(crate) fn new(hosts: impl IntoIterator<Item = String>, namespace: &str) -> Self {
        let (wildcards, names): (Vec<_>, Vec<_>) = hosts.into_iter().partition(|host| host.starts_with('*'));
        let short = names.iter().flat_map(|host| names::service_domains(host, namespace)).map(Into::into).collect();
        Self {
            names: names.into_iter().map(Into::into).collect(),
            wildcards: wildcards.into_iter().map(Into::into).collect(),
            short,
            namespace: namespace.into(),
        }
    }

    /// Whether the service of this name, in full, is among them.
    pub(crate) fn take(&self, host: &str) -> bool {
        self.names.contains(host) || self.wildcards.iter().any(|wildcard| names::covers(wildcard, host))
    }

    /// Whether the host that a request asks for is among them, where no rule says which service that is.
    ///
    /// `NAME.NAMESPACE` reads like a name of the world outside (`evil.shop`), so a wildcard does not take it; a name that
    /// stands in `to` in full does.
    pub(crate) fn take_authority(&self, authority: &[u8]) -> bool {
        let mut buffer = [0; HOST_MAX];
        let host = hosts::normalised(authority, &mut buffer).and_then(|host| std::str::from_utf8(host).ok());
        let Some(host) = host.filter(|host| !host.is_empty()) else { return false };
        if self.short.contains(host) {
            return true;
        }
        match host.ends_with(".svc") {
            true => self.take(&format!("{host}.{}", names::CLUSTER_DOMAIN)),
            false => self.take(&names::full_host(host, &self.namespace)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn check(to: &[&str], taken: &[&str], left: &[&str]) {
        let receivers = Receivers::new(to.iter().map(|host| (*host).to_owned()), "shop");
        for host in taken {
            assert!(receivers.take_authority(host.as_bytes()), "{to:?} takes {host}");
        }
        for host in left {
            assert!(!receivers.take_authority(host.as_bytes()), "{to:?} does not take {host}");
        }
    }

    #[test]
    fn a_service_goes_by_all_its_names() {
        check(
            &["cart.shop.svc.cluster.local", "api.example.com"],
            &["cart", "Cart:8080", "cart.shop", "cart.shop.svc", "cart.shop.svc.cluster.local.", "api.example.com"],
            &["", "cart.other", "cart.shop.svc.cluster.local.evil.com", "example.com", "a.api.example.com"],
        );
        check(&["cart.other.svc.cluster.local"], &["cart.other"], &["cart"]);
    }

    #[test]
    fn a_wildcard_takes_no_name_of_the_world_outside() {
        check(
            &["*.svc.cluster.local"],
            &["cart", "cart.shop.svc", "cart.other.svc.cluster.local"],
            &["evil.com", "evil.shop", "a.evil.com", "svc.cluster.local", "10.0.0.1", "[::1]:80"],
        );
        check(&["*.example.com"], &["a.example.com", "a.b.example.com:80"], &["example.com", "evil.com", "example"]);
        check(&["*"], &["cart", "evil.com", "10.0.0.1"], &[""]);
    }

    #[test]
    fn what_is_no_host_is_left() {
        let receivers = Receivers::new(["*".to_owned()], "shop");
        assert!(!receivers.take_authority(&[b'a'; 300]));
        assert!(!receivers.take_authority(b"\xff\xfe"));
    }
}
