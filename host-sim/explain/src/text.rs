//! An answer for people: the way of the request from top to bottom.

use crate::carried::{Carried, ClusterTold, HashKeyTold, Retries, Surroundings};
use crate::elsewhere::{Elsewhere, NearHost, WhyElsewhere};
use crate::{Answer, Refused, shown};
use serde_json::Value;
use std::fmt::Write;
use traffic_policy::Choice;
use traffic_policy::explain::{
    AbortShare, ActionName, DelayShare, DestinationShare, Explanation, NoPlace, Reply, RuleName, ToldEdit, Tried,
    WhyLeftOut,
};

/// The answer as text.
pub fn write(answer: &Answer, surroundings: &Surroundings) -> String {
    let Answer { request, explanation, carried } = answer;
    let mut out = format!("{} {}{}\n\n", shown(&request.method), shown(&request.authority), shown(&request.target));
    let explanation = match explanation {
        Ok(explanation) => explanation,
        Err(Refused { status, why }) => {
            line(&mut out, "answered", &format!("{status}: refused before any rule is asked: {}", shown(why)));
            return out;
        }
    };
    host(&mut out, explanation);
    carried.elsewhere.iter().for_each(|elsewhere| not_asked(&mut out, elsewhere, surroundings));
    carried.near_hosts.iter().for_each(|near| near_host(&mut out, near));
    explanation.tried.iter().for_each(|tried| vain(&mut out, tried, surroundings));
    if explanation.untold > 0 {
        line(&mut out, "", &format!("… and {} more that do not match", explanation.untold));
    }
    explanation.left_out.iter().for_each(|left_out| no_place(&mut out, left_out, surroundings));
    if let Some(rule) = &explanation.rule {
        let name = carried.name.as_deref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
        line(&mut out, "takes it", &format!("{rule}{name}{}", place(surroundings, rule)));
    }
    faults(&mut out, explanation);
    if let Some(told) = &explanation.reply {
        reply(&mut out, explanation, told);
    }
    if explanation.action == ActionName::Forward {
        forward(&mut out, explanation, carried, surroundings);
    }
    out
}

fn line(out: &mut String, label: &str, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{label:<12}{text}");
}

fn host(out: &mut String, explanation: &Explanation<'_>) {
    match &explanation.domain {
        Some(domain) => line(out, "host", domain),
        None => line(out, "host", "known to no VirtualService and no service"),
    }
}

fn not_asked(out: &mut String, elsewhere: &Elsewhere, surroundings: &Surroundings) {
    let Elsewhere { owner, host, why, gateways, namespace, place } = elsewhere;
    let why = match why {
        WhyElsewhere::Gateways => format!("bound to gateway {} only, which does not lead here", gateways.join(", ")),
        WhyElsewhere::ExportTo => format!("not exported to namespace {}", surroundings.namespace),
        WhyElsewhere::Namespace => format!("means {host} of namespace {namespace}: ask with -n {namespace}"),
    };
    let place = place.as_ref().map(|place| format!("  ({place})")).unwrap_or_default();
    line(out, "not asked", &format!("{owner}, which names {}: {why}{place}", shown(host)));
}

fn near_host(out: &mut String, near: &NearHost) {
    let NearHost { host, namespace } = near;
    let or = namespace.as_ref().map(|namespace| format!(", or ask with -n {namespace}")).unwrap_or_default();
    line(out, "known is", &format!("{}{or}", shown(host)));
}

fn place(surroundings: &Surroundings, rule: &RuleName<'_>) -> String {
    surroundings.place(rule).map(|place| format!("  ({place})")).unwrap_or_default()
}

fn vain(out: &mut String, tried: &Tried<'_>, surroundings: &Surroundings) {
    let Tried { rule, condition, found } = tried;
    let found = match &found[..] {
        [] => "absent".to_owned(),
        values => values.iter().map(|value| format!("\"{}\"", shown(value))).collect::<Vec<_>>().join(", "),
    };
    let wanted = surroundings.written(rule, condition).map(|(wanted, ignores_case)| {
        let case = if ignores_case { " in any case of letters" } else { "" };
        format!(", wanted {}{case}", condition_text(wanted))
    });
    let text = format!("{rule}: {} is {found}{}", shown(condition), wanted.unwrap_or_default());
    line(out, "no", &format!("{text}{}", place(surroundings, rule)));
}

fn no_place(out: &mut String, left_out: &NoPlace<'_>, surroundings: &Surroundings) {
    let NoPlace { rule, why } = left_out;
    let why = match why {
        WhyLeftOut::Gateways => "its `gateways` do not lead here",
        WhyLeftOut::Port => "its `port` is not the one by which the host is reached",
        WhyLeftOut::SourceLabels => "its `sourceLabels` are not those of this proxy",
        WhyLeftOut::SourceNamespace => "its `sourceNamespace` is not that of this proxy",
        WhyLeftOut::BehindCatchAll => "a rule before it takes every request",
    };
    line(out, "never", &format!("{rule}: {why}{}", place(surroundings, rule)));
}

/// A `StringMatch` as it was written.
fn condition_text(written: &Value) -> String {
    match written.as_object().and_then(|fields| fields.iter().next()) {
        Some((kind, Value::String(text))) => format!("{kind} \"{}\"", shown(text)),
        _ => "any value".to_owned(),
    }
}

/// In percent, with as many places as it takes to show that it is neither nothing nor everything.
fn percent(probability: f64) -> String {
    let is_between = probability > 0.0 && probability < 1.0;
    let texts = (4..=14).map(|places| format!("{:.places$}", probability * 100.0));
    let mut texts = texts.map(|text| text.trim_end_matches('0').trim_end_matches('.').to_owned());
    let text = texts.find(|text| !(is_between && ["0", "100"].contains(&text.as_str())));
    match text {
        Some(text) => format!("{text} %"),
        None if probability < 0.5 => "almost 0 %".to_owned(),
        None => "almost 100 %".to_owned(),
    }
}

fn faults(out: &mut String, explanation: &Explanation<'_>) {
    if let Some(DelayShare { probability, delay_ms }) = explanation.delay {
        line(out, "delay", &format!("{} wait {delay_ms} ms first", percent(probability)));
    }
    if let Some(AbortShare { probability, http_status, grpc_status }) = explanation.abort {
        let status = match (http_status, grpc_status) {
            (Some(status), _) => status.to_string(),
            (None, status) => format!("gRPC status {}", status.unwrap_or_default()),
        };
        line(out, "abort", &format!("{} are answered {status} and go nowhere", percent(probability)));
    }
}

fn reply(out: &mut String, explanation: &Explanation<'_>, told: &Reply<'_>) {
    let Reply { status, headers, body_bytes } = told;
    let why = match explanation.action {
        ActionName::Redirect => "a redirect",
        ActionName::DirectResponse => "a direct response",
        ActionName::HttpsRedirect => "the Gateway sends every plain request to https",
        ActionName::Preflight => "a CORS preflight, answered here",
        ActionName::NoRule => "no rule of this host takes the request, and there is no other to fall back to",
        ActionName::BlockAll => "the outbound traffic policy lets only known hosts out (REGISTRY_ONLY)",
        ActionName::UnknownHost => "no rule and no service has this host",
        ActionName::Pass => "no rule has this host; it is left to Istio's own routes",
        ActionName::Forward => "an answer",
    };
    let rest = explanation.let_through();
    let share = if rest < 1.0 { format!("{:>8}  ", percent(rest)) } else { String::new() };
    line(out, "answered", &format!("{share}{status}: {why}"));
    for (name, value) in headers {
        line(out, "", &format!("{}: {}", shown(name), shown(value)));
    }
    if *body_bytes > 0 {
        line(out, "", &format!("{body_bytes} bytes of body"));
    }
}

fn forward(out: &mut String, explanation: &Explanation<'_>, carried: &Carried, surroundings: &Surroundings) {
    for destination in &explanation.destinations {
        let DestinationShare { cluster, probability, .. } = destination;
        line(out, "goes to", &format!("{:>8}  {cluster}{}", percent(*probability), endpoints(carried, cluster)));
        if let Some(other) = destination.fallback.as_deref().and_then(|both| surroundings.asked_instead(both)) {
            line(out, "", &format!("            where it fails {other} is asked"));
        }
        if let Some(other) = &destination.stands_in {
            line(out, "", &format!("            while it is out {other} stands in"));
        }
        if let Some(authority) = &destination.authority {
            line(out, "", &format!("            host becomes {}", shown(authority)));
        }
        edits(out, "request", &destination.request_edits);
        edits(out, "response", &destination.response_edits);
    }
    if let Some(choice) = explanation.choice {
        line(out, "version", choice_text(choice));
    }
    if let Some(rewritten) = &explanation.rewritten {
        line(out, "path", &format!("becomes {}", shown(rewritten)));
    }
    for (probability, cluster) in explanation.mirrors.iter().zip(&carried.mirror_clusters) {
        line(out, "copied to", &format!("{:>8}  {cluster}{}", percent(*probability), endpoints(carried, cluster)));
    }
    hash_key(out, explanation, carried);
    match carried.timeout_ms {
        Some(timeout) => line(out, "timeout", &format!("{timeout} ms for all tries together")),
        None => line(out, "timeout", "none"),
    }
    match &carried.fallback {
        Some(fallback) => line(out, "fallback", &retries_text(fallback)),
        None => line(out, "retries", &carried.retries.as_ref().map_or_else(|| "none".to_owned(), retries_text)),
    }
    if let (Some(_), Some(retries)) = (&carried.fallback, &carried.retries) {
        line(out, "retries", &format!("{}, for what is asked of one version alone", retries_text(retries)));
    }
    let routes: Vec<_> = carried.envoy_routes.iter().filter_map(|route| route.get("name")?.as_str()).collect();
    line(out, "in Envoy", &format!("route {} of virtual host shunt (-o json shows it)", routes.join(" or ")));
}

fn retries_text(retries: &Retries) -> String {
    let Retries { attempts, on, per_try_timeout_ms, backoff_ms } = retries;
    let per_try = per_try_timeout_ms.map(|limit| format!(", {limit} ms each")).unwrap_or_default();
    format!("up to {attempts}{per_try}, on {}; back-off from {backoff_ms} ms", on.join(", "))
}

/// How the version comes about, where users stay on one.
fn choice_text(choice: Choice) -> &'static str {
    match choice {
        Choice::ByKey => "by the user's key: every request of this user meets it",
        Choice::ByNewCookie => "no key, so a cookie is made, with which the user comes back to the version drawn now",
        Choice::ByOverride => "named by the request",
        Choice::ByWeight => {
            "no key in the request, so chance decides each time (a client's address is known here by x-forwarded-for alone)"
        }
    }
}

/// By what the endpoint is chosen, where a destination is balanced by a hash.
fn hash_key(out: &mut String, explanation: &Explanation<'_>, carried: &Carried) {
    let mut clusters = explanation.destinations.iter().filter_map(|to| carried.clusters.get(&*to.cluster)?.as_ref());
    let is_used = clusters.any(ClusterTold::is_hashed);
    let told = |HashKeyTold { by, name }: &HashKeyTold| match (*by, name) {
        ("sourceIp", _) => "address of the client".to_owned(),
        ("queryParameter", name) => format!("query parameter `{}`", shown(name)),
        (by, name) => format!("{by} `{}`", shown(name)),
    };
    let keys: Vec<_> = carried.hash_keys.iter().map(told).collect();
    match (keys.join(", then "), is_used) {
        (keys, false) if keys.is_empty() => {}
        (keys, true) if keys.is_empty() => line(out, "hash key", "none, so chance chooses the endpoint"),
        (keys, true) => line(out, "hash key", &keys),
        (keys, false) => line(out, "hash key", &format!("{keys}; no destination is balanced by a hash")),
    }
}

fn endpoints(carried: &Carried, cluster: &str) -> String {
    match carried.clusters.get(cluster) {
        Some(Some(ClusterTold { by_host: true, .. })) => "  wherever the request's Host says".to_owned(),
        Some(Some(ClusterTold { endpoints, .. })) if endpoints.is_empty() => "  no endpoint: 503".to_owned(),
        Some(Some(ClusterTold { endpoints, load_balancer, looked_up, .. })) => match &endpoints[..] {
            [only] if *looked_up => format!("  {only}, looked up in DNS"),
            [only] => format!("  {only}"),
            several => format!("  {} endpoints, {load_balancer}", several.len()),
        },
        Some(None) | None => "  no such cluster: 503".to_owned(),
    }
}

fn edits(out: &mut String, what: &str, edits: &[ToldEdit<'_>]) {
    for edit in edits {
        let text = match edit {
            ToldEdit::Set(name, value) => format!("set {}: {}", shown(name), shown(value)),
            ToldEdit::Add(name, value) => format!("add {}: {}", shown(name), shown(value)),
            ToldEdit::Remove(name) => format!("remove {}", shown(name)),
        };
        line(out, "", &format!("            {what}: {text}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_neither_nothing_nor_everything_unless_it_is() {
        for (share, expected) in [
            (0.0, "0 %"),
            (1.0, "100 %"),
            (0.25, "25 %"),
            (1.0 / 3.0, "33.3333 %"),
            (9_999_999.0 / 1e7, "99.99999 %"),
            (1e-7, "0.00001 %"),
            (1e-30, "almost 0 %"),
        ] {
            assert_eq!(percent(share), expected);
        }
    }
}
