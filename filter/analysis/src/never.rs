//! Match blocks that no request can meet, whatever stands before them.
//!
//! Each reason is a proof: a path begins with `/` and ends before `?`; a block holds where its gateways and port are; one
//! header cannot be there and be missing.

use crate::text_set::TextSet;
use crate::view::{self, MESH, Rule, View};
use istio_config::diagnostic::At;
use istio_config::virtual_service::{HttpMatchRequest, StringMatch};
use istio_config::{Diagnostics, Resource, VirtualService, listeners, names};
use std::collections::BTreeSet;
use std::net::IpAddr;

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    for rule in view.rules() {
        rule.at(|at| {
            let list = at.field("match");
            for (index, block) in rule.raw.r#match.iter().enumerate() {
                let at = list.index(index);
                path(&at, block, diagnostics);
                headers(&at, block, diagnostics);
                queries(&at, block, diagnostics);
                authority(&at, rule, block, diagnostics);
                place(&at, view, rule, block, diagnostics);
            }
        });
    }
}

fn report(at: &At<'_>, message: String, help: &str, diagnostics: &mut Diagnostics) {
    diagnostics.warning(at, "never-matches", format!("no request meets this match: {message}"), help);
}

fn path(at: &At<'_>, block: &HttpMatchRequest, diagnostics: &mut Diagnostics) {
    let Some(StringMatch { exact, prefix, regex: None }) = &block.uri else { return };
    let at = at.field("uri");
    for (field, text) in [("exact", exact), ("prefix", prefix)] {
        let Some(text) = text.as_deref() else { continue };
        // `OPTIONS *` has a path of its own.
        let is_path = text.starts_with('/') || text == "*" || text.is_empty() && field == "prefix";
        if !is_path {
            let help = "begin it with `/`";
            report(&at.field(field), format!("a path begins with `/`, and not as `{text}`"), help, diagnostics);
        } else if text.contains(['?', '#']) {
            let message = format!("a path ends before `?` and `#`, and `{text}` goes on");
            report(&at.field(field), message, "match the query by `queryParams`", diagnostics);
        }
    }
}

/// A header that has to be there with a text that it must not have.
fn headers(at: &At<'_>, block: &HttpMatchRequest, diagnostics: &mut Diagnostics) {
    let list = at.field("withoutHeaders");
    for (name, without) in &block.without_headers {
        let same = block.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        let Some((_, Some(wanted))) = same else { continue };
        let is_presence = without.as_ref().is_none_or(|raw| raw.regex.as_deref() == Some("*"));
        let unwanted = if is_presence { Some(TextSet::Any) } else { without.as_ref().and_then(set) };
        if set(wanted).zip(unwanted).is_some_and(|(wanted, unwanted)| wanted.is_within(&unwanted)) {
            let message = format!("`headers` asks for `{name}`, and all that it takes is refused here");
            report(&list.key(name), message, "remove one of the two", diagnostics);
        }
    }
}

fn set(raw: &StringMatch) -> Option<TextSet> {
    TextSet::new(raw, false)
}

fn queries(at: &At<'_>, block: &HttpMatchRequest, diagnostics: &mut Diagnostics) {
    let list = at.field("queryParams");
    for name in block.query_params.keys() {
        let message = match name.find(['&', '=', '#', '?']) {
            Some(0) if name.starts_with('?') => format!("`{name}` has a `?` too many; the query begins behind it"),
            Some(at) if !name.get(at..).unwrap_or_default().starts_with('?') => {
                format!("no parameter is called `{name}`")
            }
            _ => continue,
        };
        report(&list.key(name), message, "write the bare name of the parameter", diagnostics);
    }
}

/// An authority that none of the hosts covers: requests with it meet other rules, or none.
fn authority(at: &At<'_>, rule: Rule<'_>, block: &HttpMatchRequest, diagnostics: &mut Diagnostics) {
    let Some(StringMatch { exact: Some(text), prefix: None, regex: None }) = &block.authority else { return };
    let host = text.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    let host = host.map_or(text.as_str(), |(host, _)| host).to_ascii_lowercase();
    // A service is reached by its address too.
    if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return;
    }
    let namespace = rule.owner.meta.namespace();
    let hosts = rule.owner.spec.hosts.iter().map(|host| names::full_host(host, namespace));
    let is_covered = |own: String| {
        // Whoever asks from the rule's namespace may leave more out than others.
        let domains = names::service_domains(&own, namespace).into_iter();
        let wildcard = own.strip_prefix('*').is_some_and(|suffix| host.ends_with(suffix));
        let of_services = own.starts_with('*') && !host.contains('.');
        wildcard || of_services || domains.chain(short_name(&own)).any(|domain| domain == host)
    };
    if !hosts.into_iter().any(is_covered) {
        let message = format!("`{text}` is none of the hosts of these rules");
        report(&at.field("authority"), message, "add it to `hosts`, or remove it here", diagnostics);
    }
}

fn short_name(host: &str) -> Option<String> {
    let name = host.strip_suffix(&format!(".svc.{}", names::CLUSTER_DOMAIN))?;
    Some(name.split('.').next()?.to_owned())
}

/// Gateways and ports through which nothing leads to the rule.
fn place(at: &At<'_>, view: &View<'_>, rule: Rule<'_>, block: &HttpMatchRequest, diagnostics: &mut Diagnostics) {
    let bound = view::gateways_of(rule.owner);
    let named = view::full_gateways(&block.gateways, rule.owner.meta.namespace());
    let holding: Vec<&String> = bound.iter().filter(|name| named.is_empty() || named.contains(name)).collect();
    if holding.is_empty() {
        let message = format!("the rules are bound to {}, and not to {}", bound.join(", "), named.join(", "));
        let help = "name a gateway here that `spec.gateways` names too; without those it is `mesh` alone";
        return report(&at.field("gateways"), message, help, diagnostics);
    }
    let Some(port) = block.port.filter(|port| *port != 0) else { return };
    let mut ports = BTreeSet::new();
    for name in holding {
        match ports_of(view, rule.owner, name) {
            Some(more) => ports.extend(more),
            // What is behind a Gateway that is not in the files nobody knows.
            None => return,
        }
    }
    if !ports.contains(&port) {
        let list: Vec<_> = ports.iter().map(u32::to_string).collect();
        let list = if list.is_empty() { "no port".to_owned() } else { format!("port {}", list.join(", ")) };
        let message = format!("these rules are reached by {list}, and not by {port}");
        report(&at.field("port"), message, "name the port that clients call, not that of the endpoint", diagnostics);
    }
}

/// The ports by which rules are reached through a gateway, or in the mesh; `None` where the files do not tell.
fn ports_of(view: &View<'_>, service: &Resource<VirtualService>, gateway: &str) -> Option<BTreeSet<u32>> {
    let namespace = service.meta.namespace();
    let hosts: Vec<_> = service.spec.hosts.iter().map(|host| names::full_host(host, namespace)).collect();
    if gateway == MESH {
        let covers = |host: &str| hosts.iter().any(|own| own == host || names::covers(own, host));
        let of_services = view.services.iter().filter(|(host, _)| covers(host)).flat_map(|(_, ports)| ports);
        let mut ports: BTreeSet<u32> = of_services.map(|port| u32::from(*port)).collect();
        // A name that is no service's is reached by port 80, and Shunt has one listener for all.
        ports.insert(u32::from(listeners::HTTP_PORT));
        return Some(ports);
    }
    let known = view.config.gateways.iter().find(|known| known.meta.full_name() == gateway)?;
    let leading = known.spec.servers.iter();
    let leading = leading.filter(|server| !listeners::shared_domains(known, server, &hosts, namespace).is_empty());
    Some(leading.map(|server| server.port.number).collect())
}
