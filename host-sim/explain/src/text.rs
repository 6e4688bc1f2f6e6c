//! An answer for people: the way of the request from top to bottom.

use crate::Answer;
use crate::carried::{Carried, ClusterTold, Surroundings};
use serde_json::Value;
use std::fmt::Write;
use traffic_policy::explain::{
    AbortShare, ActionName, DelayShare, DestinationShare, Explanation, NoPlace, Reply, RuleName, ToldEdit, Tried,
    WhyLeftOut,
};

/// The answer as text.
pub fn write(answer: &Answer, surroundings: &Surroundings) -> String {
    let Answer { request, explanation, carried } = answer;
    let mut out = format!("{} {}{}\n\n", request.method, request.authority, request.target);
    let explanation = match explanation {
        Ok(explanation) => explanation,
        Err(status) => {
            let why = "refused before any rule is asked, for what stands in its target or Host";
            line(&mut out, "answered", &format!("{status}: {why}"));
            return out;
        }
    };
    host(&mut out, explanation);
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
        reply(&mut out, explanation.action, told);
    }
    if explanation.action == ActionName::Forward {
        forward(&mut out, explanation, carried);
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

fn place(surroundings: &Surroundings, rule: &RuleName<'_>) -> String {
    surroundings.place(rule).map(|place| format!("  ({place})")).unwrap_or_default()
}

fn vain(out: &mut String, tried: &Tried<'_>, surroundings: &Surroundings) {
    let Tried { rule, condition, found } = tried;
    let found = match &found[..] {
        [] => "absent".to_owned(),
        values => values.iter().map(|value| format!("\"{value}\"")).collect::<Vec<_>>().join(", "),
    };
    let wanted = surroundings.written(rule, condition).map(|wanted| format!(", wanted {}", condition_text(wanted)));
    let text = format!("{rule}: {condition} is {found}{}", wanted.unwrap_or_default());
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
        Some((kind, Value::String(text))) => format!("{kind} \"{text}\""),
        _ => "any value".to_owned(),
    }
}

fn percent(probability: f64) -> String {
    let text = format!("{:.4}", probability * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} %")
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

fn reply(out: &mut String, action: ActionName, told: &Reply<'_>) {
    let Reply { status, headers, body_bytes } = told;
    let why = match action {
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
    line(out, "answered", &format!("{status}: {why}"));
    for (name, value) in headers {
        line(out, "", &format!("{name}: {value}"));
    }
    if *body_bytes > 0 {
        line(out, "", &format!("{body_bytes} bytes of body"));
    }
}

fn forward(out: &mut String, explanation: &Explanation<'_>, carried: &Carried) {
    for destination in &explanation.destinations {
        let DestinationShare { cluster, probability, .. } = destination;
        line(out, "goes to", &format!("{:>8}  {cluster}{}", percent(*probability), endpoints(carried, cluster)));
        if let Some(authority) = &destination.authority {
            line(out, "", &format!("            host becomes {authority}"));
        }
        edits(out, "request", &destination.request_edits);
        edits(out, "response", &destination.response_edits);
    }
    if let Some(rewritten) = &explanation.rewritten {
        line(out, "path", &format!("becomes {rewritten}"));
    }
    for (probability, cluster) in explanation.mirrors.iter().zip(&carried.mirror_clusters) {
        line(out, "copied to", &format!("{:>8}  {cluster}{}", percent(*probability), endpoints(carried, cluster)));
    }
    match carried.timeout_ms {
        Some(timeout) => line(out, "timeout", &format!("{timeout} ms for all tries together")),
        None => line(out, "timeout", "none"),
    }
    match &carried.retries {
        Some(retries) => {
            let per_try = retries.per_try_timeout_ms.map(|limit| format!(", {limit} ms each")).unwrap_or_default();
            let text = format!(
                "up to {}{per_try}, on {}; back-off from {} ms",
                retries.attempts,
                retries.on.join(", "),
                retries.backoff_ms
            );
            line(out, "retries", &text);
        }
        None => line(out, "retries", "none"),
    }
    let routes: Vec<_> = carried.envoy_routes.iter().filter_map(|route| route.get("name")?.as_str()).collect();
    line(out, "in Envoy", &format!("route {} of virtual host shunt (-o json shows it)", routes.join(" or ")));
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
            ToldEdit::Set(name, value) => format!("set {name}: {value}"),
            ToldEdit::Add(name, value) => format!("add {name}: {value}"),
            ToldEdit::Remove(name) => format!("remove {name}"),
        };
        line(out, "", &format!("            {what}: {text}"));
    }
}
