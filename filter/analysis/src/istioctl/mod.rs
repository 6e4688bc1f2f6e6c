//! What istioctl's validation refuses and nobody needs to know to serve a request (istio
//! `pkg/config/validation/validation.go`).
//!
//! Reading, plan and policy refuse what they could not carry out. The rest stands here, object by object, in the order of
//! Istio's own functions. It is an error in `check`; the other commands serve it as istiod would, with a warning.

mod destination_rule;
mod gateway;
mod names;
mod routes;
mod service_entry;
mod shared;
mod traffic_policy;
mod virtual_service;

use istio_config::{Config, Diagnostics};

/// Codes of what the policy and the plan warn of, for they serve it as istiod does, and what istioctl refuses.
pub(crate) const REFUSED: [&str; 4] = ["header-ignored", "nested-delegate", "wildcard-in-mesh", "zero-timeout"];

/// Reports everything that istioctl would refuse and that is served here nevertheless.
pub(crate) fn analyse(config: &Config, diagnostics: &mut Diagnostics) {
    for resource in &config.virtual_services {
        virtual_service::check(resource, diagnostics);
    }
    for resource in &config.destination_rules {
        destination_rule::check(resource, diagnostics);
    }
    // Kubernetes' own Services are translated into ServiceEntries; Istio asks nothing of those.
    for resource in config.service_entries.iter().filter(|entry| &*entry.meta.reference.kind == "ServiceEntry") {
        service_entry::check(resource, diagnostics);
    }
    for resource in &config.gateways {
        gateway::check(resource, diagnostics);
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use istio_config::{Config, Diagnostics};
    use serde_json::Value;

    /// What is refused in one object, as `path[code]`.
    pub(crate) fn refused(kind: &str, name: &str, spec: &str) -> Vec<String> {
        let spec: Value = serde_json::from_str(spec).unwrap_or_else(|error| panic!("{spec}: {error}"));
        let (mut config, mut diagnostics) = (Config::default(), Diagnostics::default());
        let object = serde_json::json!({
            "apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec,
        });
        config.add(object, &mut diagnostics);
        assert!(!diagnostics.has_errors(), "{diagnostics:?}");
        super::analyse(&config, &mut diagnostics);
        diagnostics.iter().map(|found| format!("{}[{}]", found.path, found.code)).collect()
    }

    /// Compares what is refused in the spec of one object.
    pub(crate) fn check(kind: &str, spec: &str, expected: &[&str]) {
        assert_eq!(refused(kind, "a", spec), expected, "{spec}");
    }
}
