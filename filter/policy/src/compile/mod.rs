//! From what the user wrote to a [`Policy`] that needs no second look.
//!
//! Two steps. Every rule is first read on its own, into a template that no longer can be wrong; that is where nearly
//! all faults are found ([`rules`], [`matches`], [`actions`], [`headers`]). Then the templates are laid under the domains they serve
//! ([`virtual_hosts`]), where the listener's port and the gateway are known.

mod actions;
mod headers;
mod matches;
mod pattern;
mod re2;
mod rules;
mod virtual_hosts;

pub use pattern::Pattern;
pub(crate) use pattern::anchored;

use crate::route::Policy;
use istio_config::delegates::Expanded;
use istio_config::diagnostic::{At, Diagnostics};
use istio_config::services::Services;
use istio_config::{FilterConfig, ObjectRef, delegates};

impl Policy {
    /// Compiles a configuration. `None` when anything in it is an error; `diagnostics` then says what.
    pub fn compile(config: &FilterConfig, diagnostics: &mut Diagnostics) -> Option<Self> {
        let services = Services::new(&config.config);
        let expanded = delegates::expand(&config.config, diagnostics);
        report_unknown_bindings(config, &expanded, diagnostics);
        let rules: Vec<_> = expanded
            .iter()
            .filter(|rules| {
                let service = &rules.service;
                is_exported(&service.spec.export_to, service.meta.namespace(), &config.namespace)
            })
            .filter_map(|rules| rules::compile(rules, config, diagnostics))
            .collect();
        let policy = virtual_hosts::compile(&rules, &services, config, diagnostics);
        (!diagnostics.has_errors()).then_some(policy)
    }
}

/// Whether an object of `namespace` is seen from `proxy_namespace` (`exportTo`).
fn is_exported(export_to: &[String], namespace: &str, proxy_namespace: &str) -> bool {
    export_to.is_empty()
        || export_to.iter().any(|target| match target.as_str() {
            "*" => true,
            "." => namespace == proxy_namespace,
            name => name == proxy_namespace,
        })
}

/// A binding that names no rule was rendered from other files: better to say so than to route by it.
fn report_unknown_bindings(config: &FilterConfig, expanded: &[Expanded<'_>], diagnostics: &mut Diagnostics) {
    let own = ObjectRef {
        kind: "FilterConfig".into(),
        namespace: "".into(),
        name: "configuration".into(),
        ordinal: usize::MAX,
    };
    for (index, binding) in config.bindings.iter().enumerate() {
        let owner = expanded.iter().find(|rules| rules.service.meta.full_name() == binding.virtual_service);
        if owner.is_none_or(|rules| rules.service.spec.http.len() <= binding.http) {
            let object = At::object(&own);
            diagnostics.error(
                &object.field("bindings").index(index),
                "unknown-rule",
                format!("there is no rule http[{}] in VirtualService {}", binding.http, binding.virtual_service),
                "render the filter configuration and the routes from the same files",
            );
        }
    }
}
