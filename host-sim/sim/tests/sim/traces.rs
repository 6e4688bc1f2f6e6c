//! The life of one request, as it was in the whole run.

use serde_json::{Value, json};
use traffic_sim::{Control, Setup, Trace, What, trace};

use crate::support::{MODULE, Mesh, V1, V2, analyse, buggy, scenario};

#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper of tests")]
fn traced(mesh: &Mesh, request: u64) -> Option<Trace> {
    let mut requests = analyse();
    requests[0]["headers"] = json!({"x-old": "0"});
    let spec = json!({
        "requests": 200, "services": buggy(), "load": {"open": {"ratePerSecond": 10}, "requests": requests},
    });
    let setup = Setup { module: &MODULE, rules: mesh.rules(), configured: Vec::new(), later: Vec::new() };
    trace(&scenario(spec).unwrap(), setup, Control::default(), request).unwrap()
}

#[test]
fn every_attempt_has_its_beginning_and_its_end() {
    let mesh = Mesh::split(0, 100).timeout(8).retries(3, 3);
    let trace = (1..=200).map(|request| traced(&mesh, request).unwrap());
    let with_three = |trace: &Trace| trace.steps.iter().any(|step| matches!(step.what, What::Sent { attempt: 3, .. }));
    let trace = trace.into_iter().find(with_three).unwrap();
    // One each 100 ms, the first at once.
    assert_eq!(trace.begun_us, (trace.request - 1) * 100_000);
    let (mut sent, mut over) = (Vec::new(), Vec::new());
    for step in &trace.steps {
        match &step.what {
            What::Sent { sent: number, attempt, cluster, role, .. } => {
                assert_eq!((&**cluster, &**role), (V2, "attempt"));
                sent.push((*number, *attempt, step.at_us));
            }
            What::Over { sent: number, attempt, took_us, .. } => over.push((*number, *attempt, step.at_us - took_us)),
            What::Decided { .. } | What::Given { .. } => {}
        }
    }
    assert!(sent.len() >= 3 && sent == over, "{trace}");
    let given = trace.steps.iter().find_map(|step| match step.what {
        What::Given { attempts, status: Some(_), .. } => usize::try_from(attempts).ok(),
        _ => None,
    });
    assert_eq!(given, Some(sent.len()));
    let text = trace.to_string();
    assert!(text.contains("attempt 3") && text.contains("profile own"), "{text}");
}

#[test]
fn copies_are_told_to_their_end() {
    let trace = traced(&Mesh::mirrored(), 7).unwrap();
    let is_copy = |step: &&traffic_sim::Step| matches!(&step.what, What::Sent { role, .. } | What::Over { role, .. } if role == "copy");
    assert_eq!(trace.steps.iter().filter(is_copy).count(), 2, "{trace}");
    assert!(matches!(&trace.steps[0].what, What::Decided { cluster: Some(cluster), .. } if cluster == V1), "{trace}");
}

#[test]
fn edits_are_told_and_the_words_for_the_host_are_none() {
    let to = json!({"host": crate::support::HOST, "subset": "v1"});
    let headers = json!({"request": {"add": {"x-new": "1"}, "remove": ["x-old"]}});
    let rule = json!({"route": [{"destination": to}], "headers": headers});
    let trace = traced(&Mesh::rule(rule, vec!["own"]), 1).unwrap();
    let What::Decided { edits, .. } = &trace.steps[0].what else { panic!("{trace}") };
    let edits: Vec<String> = edits.iter().map(ToString::to_string).collect();
    assert_eq!(edits, ["removed: x-old: 0", "added: x-new: 1"]);
}

#[test]
fn the_same_request_has_the_same_life_and_a_request_too_many_has_none() {
    let mesh = Mesh::split(50, 50);
    let told = |request| traced(&mesh, request).map(|trace| format!("{trace}{}", json(&trace)));
    assert_eq!(told(42), told(42));
    assert_ne!(told(42), told(43));
    assert_eq!(told(201), None);
}

#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn json(trace: &Trace) -> Value {
    serde_json::to_value(trace).unwrap()
}
