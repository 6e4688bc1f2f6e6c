//! `shunt render envoyfilter`, `wasmplugin` and `trafficextension`: the rules for a mesh.
//!
//! A manifest that matches nothing is silent about it. So what can be known beforehand is said: where it will act, and what
//! it leaves to Istio.

use crate::arguments::{PortMapping, RenderMeshOptions};
use crate::failure::Failure;
use crate::input::Input;
use crate::output::Output;
use crate::{code, say, size};
use envoy_plan::{Caller, Plan};
use envoy_render::{Format, Manifest, Plugin, Shipped, TargetRef, companion, envoy_filter, wasm_plugins};
use istio_config::filter_config::{Direction, Listener, Tracing};
use istio_config::listeners::MESH;
use istio_config::{Config, FilterConfig, scope};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use traffic_policy::Policy;

/// Which kind puts the filter in its place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The EnvoyFilter that has the routes too.
    EnvoyFilter,
    /// A kind that cannot route.
    Plugin(Plugin),
}

/// Writes the manifests.
pub(crate) fn run(kind: Kind, options: &RenderMeshOptions, module: &Option<PathBuf>) -> Result<(), Failure> {
    let output = Output::new(&options.output, &["yaml", "json"])?;
    let code = code::of_mesh(options, module)?;
    let mut input = Input::read(&options.manifests.files, options.manifests.recursive)?;
    input.config.complete(&mut input.diagnostics);
    let gateway = options.gateway.as_deref().unwrap_or(MESH);
    let known = gateway_selector(options, &input.config)?;
    let selector = match options.selector.is_empty() && options.target_refs.is_empty() {
        true => known.clone(),
        false => options.selector.iter().cloned().collect(),
    };
    let ports = ports(options, gateway, &selector, &input.config)?;
    // Whatever was selected, workloads of a Gateway have its labels.
    let labels = known.into_iter().chain(selector.clone()).collect();
    let (plan, shipped) = ship(options, gateway, &ports, &labels, &mut input)?;
    input.accept(options.manifests.strict)?;

    let manifest = Manifest {
        name: options.name.clone(),
        namespace: options.manifests.namespace.clone(),
        selector,
        targets: options.target_refs.iter().map(target).collect(),
        priority: options.priority,
        code,
    };
    let objects = match kind {
        Kind::EnvoyFilter => vec![envoy_filter(&plan, &shipped, &manifest)],
        Kind::Plugin(plugin) => {
            let mut objects = vec![companion(&plan, &shipped, &manifest)];
            objects.extend(wasm_plugins(plugin, &plan, &shipped, &manifest));
            objects
        }
    };
    write(kind, &output, &objects)?;
    size::warn_of(&objects);
    say_where(&manifest, &shipped);
    Ok(())
}

fn write(kind: Kind, output: &Output, objects: &[Value]) -> Result<(), Failure> {
    let format = if output.is_json() { Format::Json } else { Format::Yaml };
    let written = |kind: &str| format!("Written by `shunt render {}`: apply it with kubectl.", kind.to_lowercase());
    match (kind, objects) {
        (Kind::Plugin(plugin), objects) => {
            let why = |article: &str| {
                format!(
                    "{article} {} alone cannot route: the EnvoyFilter beside it carries out what the filter decides",
                    plugin.kind()
                )
            };
            output.write(&format.write_all(objects, &[&written(plugin.kind()), &format!("{}.", why("A"))]))?;
            say::note(&why("a"));
            Ok(())
        }
        (Kind::EnvoyFilter, objects) => {
            objects.iter().try_for_each(|object| output.write(&format.write(object, &[&written("EnvoyFilter")])))
        }
    }
}

/// The labels of the Gateway's own workloads; none where it is for the mesh.
fn gateway_selector(options: &RenderMeshOptions, config: &Config) -> Result<BTreeMap<String, String>, Failure> {
    let Some(name) = &options.gateway else { return Ok(BTreeMap::new()) };
    let known = config.gateways.iter().find(|gateway| gateway.meta.full_name() == *name);
    let Some(gateway) = known else {
        let names: Vec<_> = config.gateways.iter().map(|gateway| gateway.meta.full_name()).collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(Failure::Usage(format!(
            "--gateway {name}: no Gateway in the files is called that (there are: {known})"
        )));
    };
    Ok(gateway.spec.selector.clone())
}

/// Ports of the services or of the Gateway, each with the one that the proxy listens on.
fn ports(
    options: &RenderMeshOptions,
    gateway: &str,
    selector: &BTreeMap<String, String>,
    config: &Config,
) -> Result<Vec<(u16, u16)>, Failure> {
    // A sidecar listens on the service's port; a gateway on the one that its Service maps to.
    let mapped = |port| if gateway == MESH { port } else { config.target_port(selector, port).unwrap_or(port) };
    let found: Vec<_> = match options.ports.is_empty() {
        true => {
            let ports = scope::ports(config, gateway, &options.manifests.namespace);
            ports.into_iter().map(|port| (port, mapped(port))).collect()
        }
        false => {
            let named = options.ports.iter();
            named.map(|PortMapping { port, listener }| (*port, listener.unwrap_or_else(|| mapped(*port)))).collect()
        }
    };
    if found.is_empty() {
        let part =
            if gateway == MESH { "services that the mesh's rules are for" } else { "HTTP servers of the Gateway" };
        return Err(Failure::Failed(format!(
            "the files tell no port of the {part}: add the Services or ServiceEntries, or name one with --port"
        )));
    }
    one_for_each_listener(found)
}

/// Each listener has one filter, with the rules of one port.
fn one_for_each_listener(ports: Vec<(u16, u16)>) -> Result<Vec<(u16, u16)>, Failure> {
    let mut kept: Vec<(u16, u16)> = Vec::new();
    for (port, listener) in ports {
        match kept.iter().find(|(_, known)| *known == listener) {
            Some((known, _)) if *known == port => {}
            Some((known, _)) => {
                return Err(Failure::Failed(format!(
                    "ports {known} and {port} are both on listener {listener}, which has room for one filter: say where each is with --port PORT:LISTENER, or name one of them"
                )));
            }
            None => kept.push((port, listener)),
        }
    }
    Ok(kept)
}

/// Plan and filter configuration for each port; findings go to the input's.
fn ship(
    options: &RenderMeshOptions,
    gateway: &str,
    ports: &[(u16, u16)],
    labels: &BTreeMap<String, String>,
    input: &mut Input,
) -> Result<(Plan, Vec<Shipped>), Failure> {
    let mut plan: Option<Plan> = None;
    let mut shipped = Vec::new();
    for (port, listening) in ports {
        let listener = Listener { gateway: gateway.to_owned(), port: *port };
        // istiod sets up the clusters, by where each of its proxies is.
        let namespace = options.manifests.namespace.clone();
        let caller = Caller { namespace, labels: labels.clone(), ..Caller::default() };
        let (here, bindings) = Plan::build_for(&input.config, &caller, Some(&listener), &mut input.diagnostics);
        let config = FilterConfig {
            config: input.config.clone(),
            bindings,
            namespace: options.manifests.namespace.clone(),
            labels: labels.clone(),
            tracing: Tracing { fresh_spans: options.fresh_spans },
            listener: Some(listener.clone()),
            outbound: None,
            repeated_headers: options.repeated_headers,
            direction: Direction::Outbound,
        };
        let policy = Policy::compile(&config, &mut input.diagnostics);
        if plan.as_ref().is_some_and(|plan| plan.profiles != here.profiles) {
            input.report();
            return Err(Failure::Failed(format!(
                "a mirror without a port would go to different ports on the listeners {}: name its port, or render one of them with --port",
                ports.iter().map(|(port, _)| port.to_string()).collect::<Vec<_>>().join(", ")
            )));
        }
        // Where a version is to be asked on may depend on the listener's port.
        let before = plan.map(|plan| plan.fallbacks).unwrap_or_default();
        plan = Some(Plan { fallbacks: before.into_iter().chain(here.fallbacks).collect(), ..here });
        match policy {
            Some(policy) if policy.is_empty() && policy.propagation().is_none() => {
                say::note(&format!("port {port}: no rule is for a host there"))
            }
            _ => shipped.push(Shipped { listener, port: *listening, config }),
        }
    }
    if shipped.is_empty() && !input.diagnostics.has_errors() {
        input.report();
        let part = if gateway == MESH { "the mesh" } else { gateway };
        return Err(Failure::Failed(format!("no VirtualService in the files is for {part} on these ports")));
    }
    Ok((plan.unwrap_or_default(), shipped))
}

fn target((kind, name): &(String, String)) -> TargetRef {
    let group = match kind.as_str() {
        "Service" => "",
        "ServiceEntry" => "networking.istio.io",
        _ => "gateway.networking.k8s.io",
    };
    TargetRef { group: group.to_owned(), kind: kind.clone(), name: name.clone() }
}

fn say_where(manifest: &Manifest, shipped: &[Shipped]) {
    let Manifest { namespace, selector, targets, .. } = manifest;
    let whom = match (selector.is_empty(), targets.is_empty()) {
        (_, false) => {
            targets.iter().map(|target| format!("{}/{}", target.kind, target.name)).collect::<Vec<_>>().join(", ")
        }
        (false, true) => {
            let labels: Vec<_> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("workloads with {}", labels.join(","))
        }
        (true, true) => "all workloads".to_owned(),
    };
    let ports: Vec<_> = shipped.iter().map(|shipped| shipped.port.to_string()).collect();
    let side = match shipped.first() {
        Some(first) if !first.listener.is_mesh() => "gateway",
        _ => "outbound",
    };
    let keeps = shipped.first().is_some_and(|first| first.listener.is_mesh() && first.config.keeps_context());
    let inbound = if keeps { ", and on inbound listeners, where it keeps context" } else { "" };
    say::note(&format!(
        "acts on {whom} in namespace {namespace}, on {side} listeners of port {}{inbound}",
        ports.join(", ")
    ));
}
