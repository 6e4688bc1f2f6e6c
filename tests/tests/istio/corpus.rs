//! The corpus, with its rules in istiod, in the filter, and in both.

use crate::world::programs;
use istio_config::outbound::OutboundMode;
use shunt_tests::case::{self, Case};
use shunt_tests::corpus;
use shunt_tests::istio::arm::{Istio, Rules};

const STAR: &str = "a star of the mesh takes the services without closer rules";

const NATIVE: &[Rules] = &[Rules::InIstiod];

/// Where the filter has rules.
const IN_FILTER: &[Rules] = &[Rules::InFilter, Rules::InBoth];

const IN_BOTH: &[Rules] = &[Rules::InBoth];

/// Where istiod has rules.
const IN_ISTIOD: &[Rules] = &[Rules::InIstiod, Rules::InBoth];

const EVERYWHERE: &[Rules] = &[Rules::InIstiod, Rules::InFilter, Rules::InBoth];

/// Cases in which a mesh differs from the other arms, where it has the rules then, and why. That it does differ is a test
/// too: a line that is no longer true is found.
const DIFFERENT: [(&str, &[Rules], &str); 25] = [
    ("other codes can be the errors", EVERYWHERE, "this istiod does not know outlierDetectionHttpErrorCodes yet"),
    ("a request over HTTP/2 meets the same rules", IN_FILTER, "no service has this host, so it is on no port"),
    (
        "a CORS preflight is answered here",
        IN_BOTH,
        "Envoy edits what a filter answers by the route it had found, which is istiod's",
    ),
    (
        "upstreams see which attempt it is",
        NATIVE,
        "a rule's edit of x-envoy-attempt-count comes after Envoy has set it",
    ),
    ("header values made of the request's headers", IN_ISTIOD, "istiod refuses `:length` behind a command"),
    ("header values made of the response", NATIVE, "%RESPONSE_CODE% is 0 where Envoy answers by itself"),
    (
        "the cluster in a header",
        NATIVE,
        "istiod's clusters have other names for statistics, which %UPSTREAM_CLUSTER% tells",
    ),
    ("a delegate does not delegate", IN_ISTIOD, "istiod refuses it"),
    ("the port of a destination", NATIVE, "a Sidecar's listener knows the services that have its port, and no others"),
    ("only the filter chooses cluster and profile", NATIVE, "about the filter's own headers"),
    ("Host and pseudo headers cannot be removed", IN_ISTIOD, "istiod refuses it"),
    ("a pseudo header cannot be set", IN_ISTIOD, "istiod refuses it"),
    ("an unknown host is 404", NATIVE, "the body is the filter's own"),
    ("a known host without rules goes to its endpoints", NATIVE, "each port has a listener, whatever Host says"),
    ("a host whose rules do not match is 404", NATIVE, "the body is the filter's own"),
    (STAR, IN_ISTIOD, "istiod refuses it"),
    ("a short name belongs to the namespace of its rule", EVERYWHERE, "no service has this host, so it is on no port"),
    (
        "a client cannot order faults, nor switch them off",
        EVERYWHERE,
        "on Istio's own routes fault headers mean nothing, and stay",
    ),
    ("no header leads out of the rules", NATIVE, "about the filter's own headers"),
    ("with several destinations too the route's word on the host is the last", IN_ISTIOD, "istiod refuses it"),
    (
        "a host that is its own endpoint has no labels",
        EVERYWHERE,
        "istiod completes a rule's host without a dot, and a ServiceEntry's not",
    ),
    ("without endpoints the host itself is looked up", NATIVE, "each port has a listener, whatever Host says"),
    (
        "rules of which none holds here leave their host alone",
        NATIVE,
        "a star that services match stands for these services only",
    ),
    ("without an outbound policy an unknown host is 404", NATIVE, "the body is the filter's own"),
    (
        "under REGISTRY_ONLY an unknown host is answered 502",
        EVERYWHERE,
        "it is istiod's own route that answers, without a body",
    ),
];

/// Why a case is not for this arm at all.
fn out_of_scope(case: &Case, rules: Rules) -> Option<&'static str> {
    let texts = case.manifests();
    if texts.contains("kind: Gateway") || texts.contains("gateways:") {
        return Some("rules of a gateway, and the proxy here is a sidecar");
    }
    if case.outbound == Some(OutboundMode::AllowAny) {
        return Some("without iptables there is no address that a client had asked for");
    }
    if texts.contains("kind: ShuntPolicy") && rules == Rules::InIstiod {
        return Some("istiod knows no ShuntPolicy");
    }
    if !texts.contains("VirtualService") && rules != Rules::InIstiod {
        return Some("without rules there is no filter");
    }
    if case.name == STAR && rules == Rules::InFilter {
        return Some("its star takes the host by which the test sees what is served");
    }
    if !case.refused.is_empty() && rules == Rules::InIstiod {
        return Some("what istiod itself refuses is not ours to test");
    }
    None
}

fn run(rules: Rules) {
    let arm = Istio::new(programs(), rules);
    let mut alike = Vec::new();
    let mut wrong = Vec::new();
    let mut unmet: Vec<_> =
        DIFFERENT.iter().filter(|(_, with, _)| with.contains(&rules)).map(|(name, ..)| *name).collect();
    for case in case::corpus() {
        let differs = DIFFERENT.iter().find(|(name, with, _)| *name == case.name && with.contains(&rules));
        unmet.retain(|name| *name != case.name || out_of_scope(&case, rules).is_some());
        match (out_of_scope(&case, rules), differs) {
            (Some(reason), _) => println!("left out: {}: {reason}", case.name),
            (None, Some((.., reason))) => match corpus::run_case(&arm, &case) {
                Ok(()) => wrong.push(format!("`{}` does not differ: {reason}", case.name)),
                Err(report) => println!("differs: {reason}:\n{report}"),
            },
            (None, None) => alike.push(case),
        }
    }
    assert!(alike.len() >= 100, "only {} cases", alike.len());
    corpus::run(&arm, alike);
    assert!(unmet.is_empty(), "no case here is called {unmet:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn the_filter_alone_serves_the_corpus() {
    run(Rules::InFilter);
}

/// Nothing is applied twice.
#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn filter_and_istiod_with_the_same_rules_serve_the_corpus() {
    run(Rules::InBoth);
}

/// The control: what the corpus expects is what Istio does.
#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn istiod_alone_serves_the_corpus() {
    run(Rules::InIstiod);
}
