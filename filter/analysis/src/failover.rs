//! `failover` and `failoverPriority` where nothing tells that an endpoint fails: istiod sets no priorities without
//! `outlierDetection`.

use crate::view::View;
use istio_config::Diagnostics;
use istio_config::destination_rule::{LoadBalancerSettings, TrafficPolicy};
use istio_config::diagnostic::At;

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    for resource in &view.config.destination_rules {
        let object = At::object(&resource.meta.reference);
        let spec = object.field("spec");
        let host = resource.spec.traffic_policy.as_ref();
        if let Some(policy) = host {
            check(&spec.field("trafficPolicy"), policy, None, diagnostics);
        }
        let subsets = spec.field("subsets");
        for (index, subset) in resource.spec.subsets.iter().enumerate() {
            if let Some(policy) = &subset.traffic_policy {
                check(&subsets.index(index).field("trafficPolicy"), policy, host, diagnostics);
            }
        }
    }
}

/// `host`: the policy that a subset's goes over.
fn check(at: &At<'_>, policy: &TrafficPolicy, host: Option<&TrafficPolicy>, diagnostics: &mut Diagnostics) {
    let ejects = |policy: &TrafficPolicy| policy.outlier_detection.is_some();
    check_block(at, policy.load_balancer.as_ref(), ejects(policy) || host.is_some_and(ejects), diagnostics);
    let ports = at.field("portLevelSettings");
    for (index, settings) in policy.port_level_settings.iter().enumerate() {
        let ejects = settings.outlier_detection.is_some();
        check_block(&ports.index(index), settings.load_balancer.as_ref(), ejects, diagnostics);
    }
}

fn check_block(at: &At<'_>, balancer: Option<&LoadBalancerSettings>, ejects: bool, diagnostics: &mut Diagnostics) {
    let Some(setting) = balancer.and_then(|balancer| balancer.locality_lb_setting.as_ref()) else { return };
    if ejects || setting.enabled == Some(false) || !setting.distribute.is_empty() {
        return;
    }
    let balancer = at.field("loadBalancer");
    let at = balancer.field("localityLbSetting");
    let fields =
        [("failover", setting.failover.is_empty()), ("failoverPriority", setting.failover_priority.is_empty())];
    for (field, _) in fields.into_iter().filter(|(_, is_empty)| !is_empty) {
        let message = "without outlierDetection nothing tells that an endpoint fails, so all get requests alike";
        diagnostics.warning(&at.field(field), "no-effect", message, "add `outlierDetection` beside `loadBalancer`");
    }
}
