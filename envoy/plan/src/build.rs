//! The whole plan, from all objects.

use crate::destination_rules::DestinationRules;
use crate::destinations::Destinations;
use crate::mirrors::{self, Mirrors};
use crate::profiles::{Native, Profiles};
use crate::{DEFAULT_PROFILE, Plan, clusters, service_entries};
use istio_config::diagnostic::At;
use istio_config::filter_config::{Listener, ProfileBinding};
use istio_config::services::Services;
use istio_config::virtual_service::{HttpRoute, HttpRouteDestination};
use istio_config::{Config, Diagnostics, delegates};
use std::collections::BTreeSet;

impl Plan {
    /// Builds the plan of a configuration, and the bindings that tie its rules to the plan's profiles. Every fault
    /// lands in `diagnostics`; with errors in there the plan is incomplete and must not be served.
    ///
    /// The bindings belong into the filter's configuration ([`istio_config::FilterConfig::bindings`]). Rules that meet
    /// the default profile whatever they draw have none.
    pub fn build(config: &Config, diagnostics: &mut Diagnostics) -> (Self, Vec<ProfileBinding>) {
        Self::build_for(config, None, diagnostics)
    }

    /// The same for a listener of Istio's. The plan then holds the clusters that the files tell of, and istiod has them
    /// and others.
    pub fn build_for(
        config: &Config,
        listener: Option<&Listener>,
        diagnostics: &mut Diagnostics,
    ) -> (Self, Vec<ProfileBinding>) {
        let services = service_entries::collect(config, diagnostics);
        let rules = DestinationRules::collect(config, &services, diagnostics);
        let clusters = clusters::build(&services, &rules);

        let registry = Services::new(config);
        let destinations = Destinations::new(config, &registry, &rules, listener);
        let mut profiles = Profiles::new();
        let mut bindings = Vec::new();
        let mut uses = BTreeSet::new();
        for expanded in delegates::expand(config, diagnostics) {
            let virtual_service = &*expanded.service;
            let client = destinations.client(virtual_service);
            for (index, rule) in virtual_service.spec.http.iter().enumerate() {
                let (object, place) = expanded.rule_origin(index);
                let object = At::object(object);
                let spec = object.field("spec");
                let http = spec.field("http");
                let at = http.index(place).inheriting(expanded.inherited(index));
                let HttpRoute {
                    route,
                    timeout,
                    retries,
                    mirror,
                    mirrors,
                    mirror_percent,
                    mirror_percentage,
                    // The policy's subject.
                    name: _,
                    r#match: _,
                    redirect: _,
                    direct_response: _,
                    delegate: _,
                    rewrite: _,
                    fault: _,
                    cors_policy: _,
                    headers: _,
                } = rule;
                let list = at.field("route");
                let mut names = Vec::new();
                for (index, HttpRouteDestination { destination, weight: _, headers: _ }) in route.iter().enumerate() {
                    names.extend(client.cluster(&list.index(index).field("destination"), destination, diagnostics));
                }
                let raw = mirrors::Raw {
                    mirror: mirror.as_deref(),
                    mirrors,
                    percentage: mirror_percentage.as_ref(),
                    percent: *mirror_percent,
                };
                let mirrors = Mirrors::compile(&at, &raw, &client, diagnostics);
                let native = Native::compile(&at, *timeout, retries.as_deref(), diagnostics);
                if route.is_empty() {
                    continue;
                }
                let profiles = profiles.bind(&native, &mirrors);
                for profile in &profiles {
                    let profile = if profile.is_empty() { DEFAULT_PROFILE } else { profile };
                    uses.extend(names.iter().map(|cluster| (profile.to_owned(), cluster.clone())));
                }
                if !profiles.iter().all(String::is_empty) {
                    bindings.push(ProfileBinding {
                        virtual_service: virtual_service.meta.full_name(),
                        http: index,
                        profiles,
                    });
                }
            }
        }
        (Self { profiles: profiles.finish(), clusters, uses }, bindings)
    }
}
