//! Fields that Istio still reads and wants to be rid of (IST0002).

use crate::view::View;
use istio_config::Diagnostics;
use istio_config::destination_rule::{SimpleLb, TrafficPolicy};
use istio_config::diagnostic::At;

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    for rule in view.rules() {
        let raw = rule.raw;
        let delay = raw.fault.as_ref().and_then(|fault| fault.delay.as_ref());
        rule.at(|at| {
            let fields = [
                (at.field("mirrorPercent"), raw.mirror_percent.is_some(), "mirrorPercentage"),
                (
                    at.field("corsPolicy"),
                    raw.cors_policy.as_ref().is_some_and(|cors| !cors.allow_origin.is_empty()),
                    "allowOrigins instead of allowOrigin",
                ),
                (
                    at.field("fault"),
                    delay.is_some_and(|delay| delay.percent.is_some()),
                    "percentage instead of delay.percent",
                ),
            ];
            for (at, _, instead) in fields.iter().filter(|(_, used, _)| *used) {
                report(at, instead, diagnostics);
            }
        });
    }
    for resource in &view.config.destination_rules {
        let object = At::object(&resource.meta.reference);
        let spec = object.field("spec");
        if let Some(policy) = &resource.spec.traffic_policy {
            balancer(&spec.field("trafficPolicy"), policy, diagnostics);
        }
        let list = spec.field("subsets");
        for (index, subset) in resource.spec.subsets.iter().enumerate() {
            if let Some(policy) = &subset.traffic_policy {
                balancer(&list.index(index).field("trafficPolicy"), policy, diagnostics);
            }
        }
    }
}

fn balancer(at: &At<'_>, policy: &TrafficPolicy, diagnostics: &mut Diagnostics) {
    let Some(balancer) = &policy.load_balancer else { return };
    let at = at.field("loadBalancer");
    if balancer.simple == Some(SimpleLb::LeastConn) {
        report(&at.field("simple"), "LEAST_REQUEST", diagnostics);
    }
    if balancer.warmup_duration_secs.is_some() {
        report(&at.field("warmupDurationSecs"), "warmup.duration", diagnostics);
    }
    if balancer.consistent_hash.as_ref().is_some_and(|hash| hash.minimum_ring_size.is_some()) {
        report(&at.field("consistentHash").field("minimumRingSize"), "ringHash.minimumRingSize", diagnostics);
    }
}

fn report(at: &At<'_>, instead: &str, diagnostics: &mut Diagnostics) {
    diagnostics.warning(at, "IST0002", "this is deprecated", format!("use {instead}"));
}
