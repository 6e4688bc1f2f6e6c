//! The whole plan, from all objects.

use crate::consistent_hash;
use crate::destination_rules::DestinationRules;
use crate::destinations::Destinations;
use crate::fallback::Fallbacks;
use crate::mirrors::{self, Mirrors};
use crate::profiles::{Native, Profiles};
use crate::{Caller, DEFAULT_PROFILE, Plan, clusters, service_entries};
use istio_config::diagnostic::At;
use istio_config::filter_config::{FallbackBinding, Listener, ProfileBinding};
use istio_config::services::Services;
use istio_config::virtual_service::{HttpRoute, HttpRouteDestination};
use istio_config::{Config, Diagnostic, Diagnostics, Resource, VirtualService, delegates, listeners, names};
use std::collections::{BTreeMap, BTreeSet};

/// The code of what a plan cannot carry out, and istiod's own clusters can.
pub(crate) const ONLY_IN_A_MESH: &str = "only-in-a-mesh";

impl Plan {
    /// Builds the plan of a configuration, and the bindings that tie its rules to the plan's profiles. Every fault
    /// lands in `diagnostics`; with errors in there the plan is incomplete and must not be served.
    ///
    /// The bindings belong into the filter's configuration ([`istio_config::FilterConfig::bindings`]). Rules that meet
    /// the default profile whatever they draw have none.
    pub fn build(config: &Config, diagnostics: &mut Diagnostics) -> (Self, Vec<ProfileBinding>) {
        Self::build_for(config, &Caller::default(), None, diagnostics)
    }

    /// The same for this caller, by whose place and labels endpoints are preferred; and for a listener of Istio's. The plan
    /// then holds the clusters that the files tell of, and istiod has them and others.
    pub fn build_for(
        config: &Config,
        caller: &Caller,
        listener: Option<&Listener>,
        diagnostics: &mut Diagnostics,
    ) -> (Self, Vec<ProfileBinding>) {
        let mut found = Diagnostics::default();
        let services = service_entries::collect(config, &mut found);
        let rules = DestinationRules::collect(config, &services, caller, &mut found);
        // In a mesh istiod finds endpoints, also where nobody else can.
        let is_solved = |finding: &&Diagnostic| listener.is_some() && finding.code == ONLY_IN_A_MESH;
        for finding in found.iter().filter(|finding| !is_solved(finding)) {
            diagnostics.push(finding.clone());
        }
        let clusters = clusters::build(&services, &rules, caller);

        let registry = Services::new(config);
        let destinations = Destinations::new(config, &registry, &rules, listener);
        let mut profiles = Profiles::new();
        let mut bindings = Vec::new();
        let mut uses = BTreeSet::new();
        let expanded = delegates::expand(config, diagnostics);
        let policies = Fallbacks::compile(config, &expanded, diagnostics);
        let mut fallbacks = BTreeMap::new();
        for expanded in &expanded {
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
                let mut clusters_named = BTreeSet::new();
                let full = |host: &str| names::full_host(host, virtual_service.meta.namespace());
                for (index, HttpRouteDestination { destination, weight: _, headers: _ }) in route.iter().enumerate() {
                    let entry = list.index(index);
                    let at = entry.field("destination");
                    let Some(name) = client.cluster(&at, destination, diagnostics) else { continue };
                    if let Some(cluster) = clusters.get(&name) {
                        let host = full(&destination.host);
                        consistent_hash::report_lost_key(&at, destination, &host, cluster, &rules, diagnostics);
                    }
                    clusters_named.insert(name);
                }
                let raw = mirrors::Raw {
                    mirror: mirror.as_deref(),
                    mirrors,
                    percentage: mirror_percentage.as_ref(),
                    percent: *mirror_percent,
                };
                let mirrors = Mirrors::compile(&at, &raw, &client, diagnostics);
                let keys = consistent_hash::of_rule(route, &rules, full);
                let native = Native::compile(&at, *timeout, retries.as_deref(), keys, diagnostics);
                if route.is_empty() {
                    continue;
                }
                let virtual_service_name = virtual_service.meta.full_name();
                let policy = policies.of(&(virtual_service_name.clone(), index));
                let falling_back = policy.and_then(|policy| {
                    let found = policy.clusters(rule, &client, diagnostics);
                    let own = native.retry.as_ref();
                    let retry = policy.retry(retries.as_deref(), own, native.timeout, diagnostics);
                    (!found.is_empty()).then(|| (native.falling_back(retry), found))
                });
                let mut use_all = |profiles: &[String], clusters: &mut dyn Iterator<Item = &String>| {
                    let name = |profile: &String| match profile.is_empty() {
                        true => DEFAULT_PROFILE.to_owned(),
                        false => profile.clone(),
                    };
                    for cluster in clusters {
                        uses.extend(profiles.iter().map(|profile| (name(profile), cluster.clone())));
                    }
                };
                let own = profiles.bind(&native, &mirrors);
                use_all(&own, &mut clusters_named.iter());
                let fallback = falling_back.map(|(native, found)| {
                    let profiles = profiles.bind(&native, &mirrors);
                    use_all(&profiles, &mut found.keys());
                    let by_first = found.iter().map(|(name, both)| (both.first.clone(), name.clone()));
                    let binding = FallbackBinding { profiles, clusters: by_first.collect() };
                    fallbacks.extend(found);
                    binding
                });
                if fallback.is_some() || !own.iter().all(String::is_empty) {
                    bindings.push(ProfileBinding {
                        virtual_service: virtual_service_name,
                        http: index,
                        profiles: own,
                        fallback,
                        ..ProfileBinding::default()
                    });
                }
            }
        }
        // On a listener of Istio's such requests meet istiod's own route.
        for host in services.keys().filter(|_| listener.is_none()) {
            let port = listeners::mesh_port(host, &registry);
            let has_rules = expanded.iter().any(|expanded| takes_all(&expanded.service, host));
            if let Some(key) = consistent_hash::of_service(&rules, host, port).filter(|_| !has_rules) {
                let profile = profiles.of_service(key);
                uses.insert((profile.clone(), names::cluster_name(port, "", host)));
                bindings.push(ProfileBinding {
                    service: host.clone(),
                    profiles: vec![profile],
                    ..ProfileBinding::default()
                });
            }
        }
        (Self { profiles: profiles.finish(), clusters, fallbacks, uses }, bindings)
    }
}

/// Whether these rules have a place in the mesh under this host whatever they are asked, so that it has no route of its own.
fn takes_all(service: &Resource<VirtualService>, host: &str) -> bool {
    let in_mesh = listeners::gateway_names(service).iter().any(|gateway| gateway == listeners::MESH);
    let namespace = service.meta.namespace();
    let names_it = |written: &String| names::covers(&names::full_host(written, namespace), host);
    let mut blocks = service.spec.http.iter().map(|rule| &rule.r#match);
    in_mesh
        && service.spec.hosts.iter().any(names_it)
        && blocks.any(|blocks| {
            let anywhere = blocks.iter().any(|block| {
                block.gateways.is_empty()
                    && block.port.is_none()
                    && block.source_labels.is_empty()
                    && block.source_namespace.is_empty()
            });
            blocks.is_empty() || anywhere
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use istio_config::yaml;

    /// Findings for a service and a policy, in a mesh and outside.
    fn findings(service: &str, policy: &str) -> [Vec<String>; 2] {
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: s}}\nspec: {{hosts: [a.com], ports: [{{number: 80, name: http}}], {service}}}\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: d}}\nspec: {{host: a.com, {policy}}}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v}}\nspec: {{hosts: [a.com], http: [{{route: [{{destination: {{host: a.com, subset: v1}}}}]}}]}}\n"
        );
        let (mut config, mut sources) = <(Config, yaml::Sources)>::default();
        yaml::read("test.yaml", &text, &mut config, &mut sources, &mut Diagnostics::default());
        let mesh = Listener { gateway: "mesh".to_owned(), port: 80 };
        [Some(&mesh), None].map(|listener| {
            let mut diagnostics = Diagnostics::default();
            Plan::build_for(&config, &Caller::default(), listener, &mut diagnostics);
            diagnostics.iter().map(|found| format!("{}[{}]", found.path, found.code)).collect()
        })
    }

    #[test]
    fn what_only_istiod_can_carry_out_is_an_error_outside_a_mesh() {
        let subsets = "subsets: [{name: v1, labels: {version: v1}}]";
        let none = Vec::<String>::new();
        let by_client = findings("resolution: NONE", subsets);
        assert_eq!(by_client, [none.clone(), vec!["spec.resolution[only-in-a-mesh]".to_owned()]]);
        let selected = findings("resolution: STATIC, workloadSelector: {labels: {app: a}}", subsets);
        assert_eq!(selected, [none.clone(), vec!["spec.workloadSelector[only-in-a-mesh]".to_owned()]]);
        let fixed = "resolution: STATIC, endpoints: [{address: 10.0.0.1, labels: {version: v1}}]";
        let passthrough =
            findings(fixed, &format!("{subsets}, trafficPolicy: {{loadBalancer: {{simple: PASSTHROUGH}}}}"));
        let path = "spec.trafficPolicy.loadBalancer.simple[only-in-a-mesh]";
        assert_eq!(passthrough, [none, vec![path.to_owned()]]);
    }
}
