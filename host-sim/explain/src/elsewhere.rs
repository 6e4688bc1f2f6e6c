//! Why a rule was not used: VirtualServices that name the host of a request and are not asked for it, and hosts that are
//! known and look like it. Asked where the host is unknown, or has no rules here.

use crate::carried::Surroundings;
use istio_config::listeners::MESH;
use istio_config::{Resource, VirtualService, names};
use serde::Serialize;
use std::collections::BTreeSet;

/// Hosts that are named at most.
const NEAR: usize = 3;

/// A VirtualService that names the host and is not asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Elsewhere {
    /// `namespace/name`.
    pub owner: String,
    /// The host as it names it.
    pub host: String,
    /// Why it is not asked.
    pub why: WhyElsewhere,
    /// Its `gateways`, where they are the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<String>,
    /// Its namespace, where that is the reason.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// `file:line` of the field that is the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// Why a VirtualService is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum WhyElsewhere {
    /// Its `gateways` do not name `mesh`, and none of them leads to this host.
    Gateways,
    /// Its `exportTo` does not name the proxy's namespace.
    ExportTo,
    /// It means a host of its own namespace, which has this short name there only.
    Namespace,
}

/// A host that is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NearHost {
    /// As a request would name it.
    pub host: String,
    /// The namespace in which the name that was asked for would be this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl Surroundings {
    /// VirtualServices that name the host of this authority and are not asked for it. `owner` is the one that is.
    pub fn elsewhere(&self, authority: &str, owner: Option<&str>) -> Vec<Elsewhere> {
        let asked = host_of(authority);
        let services =
            self.config.virtual_services.iter().filter(|service| Some(service.meta.full_name().as_str()) != owner);
        services.filter_map(|service| self.not_asked(service, &asked)).collect()
    }

    fn not_asked(&self, service: &Resource<VirtualService>, asked: &str) -> Option<Elsewhere> {
        let Resource { meta, spec: VirtualService { hosts, gateways, export_to, .. } } = service;
        let own = meta.namespace();
        let names_it = |host: &&String| {
            let full = names::full_host(host, own);
            let domains = names::service_domains(&full, own);
            domains.iter().any(|domain| domain == asked)
                || host.eq_ignore_ascii_case(asked)
                || names::covers(&full, asked)
        };
        let host = hosts.iter().find(names_it)?;
        let full = names::full_host(host, own);
        let is_reached =
            names::service_domains(&full, &self.namespace).iter().any(|domain| names::covers(domain, asked));
        let (why, field) = if !names::is_exported(export_to, own, &self.namespace) {
            (WhyElsewhere::ExportTo, "spec.exportTo")
        } else if !gateways.is_empty() && !gateways.iter().any(|gateway| gateway == MESH) {
            (WhyElsewhere::Gateways, "spec.gateways")
        } else if !is_reached {
            (WhyElsewhere::Namespace, "spec.hosts")
        } else {
            return None;
        };
        Some(Elsewhere {
            owner: meta.full_name(),
            host: host.clone(),
            why,
            gateways: if why == WhyElsewhere::Gateways { gateways.clone() } else { Vec::new() },
            namespace: if why == WhyElsewhere::Namespace { own.to_owned() } else { String::new() },
            place: (self.places)(&meta.reference, field),
        })
    }

    /// Known hosts that this authority may have meant, the likeliest first.
    pub fn near(&self, authority: &str) -> Vec<NearHost> {
        let asked = host_of(authority);
        let mut found: BTreeSet<(usize, NearHost)> = BTreeSet::new();
        for full in self.known_hosts() {
            let domains = names::service_domains(&full, &self.namespace);
            let label = |host: &str| host.split('.').next().unwrap_or_default().to_owned();
            let is_namesake = label(&asked) == label(&full) && asked.parse::<std::net::IpAddr>().is_err();
            let nearest = domains.iter().map(|domain| (distance(domain, &asked), domain)).min();
            let Some((distance, domain)) = nearest else { continue };
            let shortest = domains.iter().min_by_key(|domain| domain.len()).unwrap_or(domain);
            let near = if is_namesake {
                let namespace = names::service_domains(&full, &self.namespace).len() > 1 && !asked.contains('.');
                let namespace = full.split('.').nth(1).filter(|_| namespace).map(str::to_owned);
                (0, NearHost { host: shortest.clone(), namespace })
            } else if distance <= asked.chars().count().div_ceil(6).min(3) {
                (distance, NearHost { host: domain.clone(), namespace: None })
            } else {
                continue;
            };
            found.insert(near);
        }
        found.into_iter().map(|(_, near)| near).take(NEAR).collect()
    }

    /// In full, without wildcards.
    fn known_hosts(&self) -> BTreeSet<String> {
        let entries = self.config.service_entries.iter().map(|entry| (&entry.spec.hosts, entry.meta.namespace()));
        let rules = self.config.virtual_services.iter().map(|service| (&service.spec.hosts, service.meta.namespace()));
        let hosts = entries.chain(rules);
        let full = hosts.flat_map(|(hosts, namespace)| hosts.iter().map(|host| names::full_host(host, namespace)));
        full.filter(|host| !host.starts_with('*')).collect()
    }
}

/// More than can count where the lengths already differ by more.
fn distance(one: &str, other: &str) -> usize {
    match one.len().abs_diff(other.len()) {
        difference if difference > 3 => difference,
        _ => strsim::osa_distance(one, other),
    }
}

/// Host without port and without the dot at its end, in lower case.
fn host_of(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use istio_config::{Config, Diagnostics};
    use serde_json::json;
    use std::sync::Arc;

    fn surroundings(namespace: &str) -> Surroundings {
        let mut config = Config::default();
        let entry = |name: &str, namespace: &str, host: &str| {
            json!({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": name, "namespace": namespace},
                "spec": {"hosts": [host], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}], "resolution": "STATIC"}})
        };
        let rules = |name: &str, namespace: &str, more: serde_json::Value| {
            let mut spec = json!({"hosts": ["billing"], "http": [{"route": [{"destination": {"host": "billing"}}]}]});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                "metadata": {"name": name, "namespace": namespace}, "spec": spec})
        };
        for object in [
            entry("billing", "pay", "billing"),
            entry("ratings", "default", "ratings"),
            entry("shop", "default", "shop.example.com"),
            rules("inside", "pay", json!({})),
            rules("hidden", "pay", json!({"exportTo": ["."]})),
            rules("edge", "default", json!({"gateways": ["team/edge"]})),
        ] {
            config.add(object, &mut Diagnostics::default());
        }
        let plan = envoy_plan::Plan::build(&config, &mut Diagnostics::default()).0;
        let places = |_: &istio_config::ObjectRef, field: &str| Some(field.to_owned());
        Surroundings { plan: Arc::new(plan), config, namespace: namespace.to_owned(), places: Box::new(places) }
    }

    #[test]
    fn rules_that_are_not_asked_say_why() {
        let found = |namespace: &str, authority: &str| {
            let found = surroundings(namespace).elsewhere(authority, None);
            found.into_iter().map(|it| (it.owner, it.why, it.place.unwrap_or_default())).collect::<Vec<_>>()
        };
        let named = |owner: &str, why, place: &str| (owner.to_owned(), why, place.to_owned());
        let all = found("default", "Billing.:80");
        assert_eq!(
            all,
            [
                named("pay/inside", WhyElsewhere::Namespace, "spec.hosts"),
                named("pay/hidden", WhyElsewhere::ExportTo, "spec.exportTo"),
                named("default/edge", WhyElsewhere::Gateways, "spec.gateways"),
            ]
        );
        assert_eq!(found("default", "billing.pay"), [named("pay/hidden", WhyElsewhere::ExportTo, "spec.exportTo")]);
        assert_eq!(found("pay", "billing"), [named("default/edge", WhyElsewhere::Gateways, "spec.gateways")]);
        assert!(found("default", "ratings").is_empty());
    }

    #[test]
    fn near_hosts_are_namesakes_and_slips_of_the_pen() {
        let found = |authority: &str| {
            let found = surroundings("default").near(authority);
            found.into_iter().map(|near| (near.host, near.namespace.unwrap_or_default())).collect::<Vec<_>>()
        };
        let near = |host: &str, namespace: &str| vec![(host.to_owned(), namespace.to_owned())];
        assert_eq!(found("ratigns:9080"), near("ratings", ""));
        assert_eq!(found("shop.exmaple.com"), near("shop.example.com", ""));
        assert_eq!(found("billing.nowhere").first(), near("billing", "").first());
        assert!(found("elsewhere").is_empty());
        assert!(found("10.0.0.1").is_empty());
        let mut only = surroundings("default");
        only.config.virtual_services.clear();
        assert_eq!(
            only.near("billing"),
            [NearHost { host: "billing.pay".to_owned(), namespace: Some("pay".to_owned()) }]
        );
    }
}
