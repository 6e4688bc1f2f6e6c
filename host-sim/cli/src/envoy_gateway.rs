//! `shunt render envoyextensionpolicy`: the rules for Envoy Gateway.

use crate::arguments::RenderEnvoyGatewayOptions;
use crate::deployment::Deployment;
use crate::failure::Failure;
use crate::output::Output;
use crate::render::NOTHING_LOST;
use crate::{code, say, size};
use envoy_render::{EnvoyGateway, Format, TargetRef, envoy_gateway};
use istio_config::FilterConfig;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Writes the manifests, and says what they cannot say.
pub(crate) fn run(options: &RenderEnvoyGatewayOptions, module: &Option<PathBuf>) -> Result<(), Failure> {
    let RenderEnvoyGatewayOptions { manifests, target_refs, name, wasm_url, mesh, output } = options;
    let output = Output::new(output, &["yaml", "json"])?;
    let sha256 = code::sha256(wasm_url, module)?;
    let Deployment { plan, filter, .. } = Deployment::load(manifests, mesh)?;
    if mesh.outbound_traffic_policy.is_some() {
        let reason = "a host that no HTTPRoute names does not come to the filter";
        return Err(Failure::Usage(format!("--outbound-traffic-policy means nothing for Envoy Gateway: {reason}")));
    }
    refuse_faults(&filter)?;
    let parent = |(kind, name): &(String, String)| TargetRef {
        group: "gateway.networking.k8s.io".to_owned(),
        kind: kind.clone(),
        name: name.clone(),
    };
    let gateway = EnvoyGateway {
        name: name.clone(),
        namespace: manifests.namespace.clone(),
        parents: target_refs.iter().map(parent).collect(),
        hosts: hosts(&filter),
        url: wasm_url.clone(),
        sha256,
    };
    let (objects, lost) = envoy_gateway(&plan, &filter, &gateway);
    lost.iter().for_each(|line| say::warning(line));
    if manifests.strict && !lost.is_empty() {
        return Err(Failure::Failed(NOTHING_LOST.to_owned()));
    }
    let format = if output.is_json() { Format::Json } else { Format::Yaml };
    let comments = [
        "Written by `shunt render envoyextensionpolicy`: apply it with kubectl.",
        "An EnvoyExtensionPolicy alone cannot route: the HTTPRoutes carry out what the filter decides.",
    ];
    output.write(&format.write_all(&objects, &comments))?;
    size::warn_of(&objects);
    say_services(&objects);
    say::note("an EnvoyExtensionPolicy alone cannot route: the HTTPRoutes beside it carry out what the filter decides");
    let label = gateway.label();
    say::note(&format!(
        "its HTTPRoutes and policies have the label {label}; those of the version before that are not here are to be deleted afterwards"
    ));
    let parents: Vec<_> = target_refs.iter().map(|(kind, name)| format!("{kind}/{name}")).collect();
    let hosts = if gateway.hosts.is_empty() { "every host".to_owned() } else { gateway.hosts.join(", ") };
    say::note(&format!("acts on {hosts} at {} in namespace {}", parents.join(", "), gateway.namespace));
    Ok(())
}

/// Subsets become Services, of which the cluster may have one of that name.
fn say_services(objects: &[Value]) {
    let names =
        objects.iter().filter(|object| object.get("kind").and_then(Value::as_str) == Some("Service")).map(|it| {
            let part = |pointer| it.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            format!("{}/{}", part("/metadata/namespace"), part("/metadata/name"))
        });
    let names: Vec<_> = names.collect();
    if !names.is_empty() {
        say::note(&format!(
            "writes a Service for each subset, in place of any that is called so: {}",
            names.join(", ")
        ));
    }
}

/// Envoy Gateway has a fault filter, but none that listens to ours.
fn refuse_faults(filter: &FilterConfig) -> Result<(), Failure> {
    for service in &filter.config.virtual_services {
        if let Some(place) = service.spec.http.iter().position(|rule| rule.fault.is_some()) {
            let name = service.meta.full_name();
            return Err(Failure::Failed(format!(
                "VirtualService {name}: spec.http[{place}].fault: Envoy Gateway cannot inject it; leave it out, or use the `faultInjection` of a BackendTrafficPolicy"
            )));
        }
    }
    Ok(())
}

/// The hosts that rules are for; none where one of them is for all.
fn hosts(filter: &FilterConfig) -> Vec<String> {
    let services = filter.config.virtual_services.iter();
    let hosts: BTreeSet<_> =
        services.flat_map(|service| &service.spec.hosts).map(|host| host.to_ascii_lowercase()).collect();
    if hosts.contains("*") { Vec::new() } else { hosts.into_iter().collect() }
}
