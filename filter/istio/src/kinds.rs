//! Kinds that are not served although they say where requests go, and what to do about each.
//!
//! Passing over a ConfigMap is right; passing over an HTTPRoute in silence would let its author believe that it works.

use crate::decode::distance;
use crate::diagnostic::Severity;
use crate::shunt_policy;

const TO_VIRTUAL_SERVICE: &str = "write its rules as a VirtualService of networking.istio.io/v1";

/// API group, kind (`*`: every kind of the group), and a way out.
const RULE_TRAFFIC: [(&str, &str, &str); 18] = [
    ("gateway.networking.k8s.io", "HTTPRoute", TO_VIRTUAL_SERVICE),
    ("gateway.networking.k8s.io", "GRPCRoute", TO_VIRTUAL_SERVICE),
    ("gateway.networking.k8s.io", "Gateway", "write it as a Gateway of networking.istio.io/v1"),
    ("gateway.networking.k8s.io", "TLSRoute", "Shunt serves HTTP; let Istio route the rest"),
    ("gateway.networking.k8s.io", "TCPRoute", "Shunt serves HTTP; let Istio route the rest"),
    ("gateway.networking.k8s.io", "UDPRoute", "Shunt serves HTTP; let Istio route the rest"),
    ("config.istio.io", "*", "this is Istio's API before 1.0: write a VirtualService and a DestinationRule"),
    ("networking.k8s.io", "Ingress", "write it as a Gateway and a VirtualService bound to it"),
    ("extensions", "Ingress", "write it as a Gateway and a VirtualService bound to it"),
    (
        "networking.istio.io",
        "EnvoyFilter",
        "what it changes in Envoy does not happen here; move what a VirtualService can say into one",
    ),
    ("networking.istio.io", "Sidecar", "every host is visible here; narrow rules with `exportTo` instead"),
    ("networking.istio.io", "WorkloadEntry", "list its address under `endpoints` of the ServiceEntry"),
    ("networking.istio.io", "WorkloadGroup", "list the addresses under `endpoints` of the ServiceEntry"),
    (
        "security.istio.io",
        "AuthorizationPolicy",
        "requests it would refuse are let through here; keep it where Istio runs",
    ),
    ("security.istio.io", "RequestAuthentication", "tokens are not checked here; keep it where Istio runs"),
    ("extensions.istio.io", "WasmPlugin", "its filter does not run here; keep it where Istio runs"),
    ("split.smi-spec.io", "TrafficSplit", TO_VIRTUAL_SERVICE),
    ("specs.smi-spec.io", "HTTPRouteGroup", TO_VIRTUAL_SERVICE),
];

/// What its author should do instead; `None` for kinds that have nothing to do with where requests go.
pub(crate) fn way_out(api_version: &str, kind: &str) -> Option<&'static str> {
    let (group, _) = api_version.split_once('/')?;
    // Before it had a group of its own, the kind was known by its name alone.
    if ["RouteRule", "DestinationPolicy", "EgressRule"].contains(&kind) {
        return RULE_TRAFFIC.iter().find(|(known, ..)| *known == "config.istio.io").map(|(.., help)| *help);
    }
    let known = RULE_TRAFFIC.iter().find(|(known, name, _)| *known == group && (*name == kind || *name == "*"));
    known.map(|(.., help)| *help)
}

/// The kinds that are served, all of [`NETWORKING`].
const SERVED: [&str; 4] = ["VirtualService", "DestinationRule", "ServiceEntry", "Gateway"];

const NETWORKING: &str = "networking.istio.io";

/// Istio's API groups with their kinds (istio `pkg/config/schema/metadata.yaml`).
const ISTIO: [(&str, &[&str]); 4] = [
    (
        NETWORKING,
        &[
            "VirtualService",
            "DestinationRule",
            "ServiceEntry",
            "Gateway",
            "Sidecar",
            "EnvoyFilter",
            "WorkloadEntry",
            "WorkloadGroup",
            "ProxyConfig",
        ],
    ),
    ("security.istio.io", &["AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"]),
    ("telemetry.istio.io", &["Telemetry"]),
    ("extensions.istio.io", &["WasmPlugin", "TrafficExtension"]),
];

/// Versions that those groups have or had.
const VERSIONS: [&str; 5] = ["v1", "v1beta1", "v1alpha3", "v1alpha1", "v1alpha2"];

/// How many letters may be wrong in a name that is meant for another.
const SLIPS_MAX: usize = 2;

/// What is wrong with a kind that nobody has.
pub(crate) struct KindFault {
    pub(crate) severity: Severity,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) help: String,
}

/// A kind or version that Istio's group does not have, which the API server refuses; or one that is nearly one that is
/// served, and that nobody would miss. `None` for all others.
pub(crate) fn fault(api_version: &str, kind: &str) -> Option<KindFault> {
    let (group, version) = api_version.split_once('/').unwrap_or((api_version, ""));
    let refused =
        |message: String, help: String| KindFault { severity: Severity::Error, code: "unknown-kind", message, help };
    if let Some((_, kinds)) = ISTIO.iter().find(|(known, _)| *known == group) {
        let help = || match near(kind, kinds.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("kinds here: {}", kinds.join(", ")),
        };
        return if !kinds.contains(&kind) {
            Some(refused(format!("{group} has no kind `{kind}`"), help()))
        } else if !VERSIONS.contains(&version) || group == NETWORKING && ["v1alpha1", "v1alpha2"].contains(&version) {
            let help = format!("write {group}/v1");
            Some(refused(format!("{group} has no version `{version}`"), help))
        } else {
            None
        };
    }
    // A kind of another maker may well be called so; a group without a maker's name, or nearly Istio's, is a slip. Of policies there is
    // no other maker.
    let is_near_group = group == "v1" || distance(group, NETWORKING) <= SLIPS_MAX;
    let of_istio = near(kind, SERVED).filter(|_| is_near_group).map(|meant| (format!("{NETWORKING}/v1"), meant));
    let of_ours = || near(kind, [shunt_policy::KIND]).map(|meant| (shunt_policy::API_VERSION.to_owned(), meant));
    let (version, meant) = of_istio.or_else(of_ours)?;
    Some(KindFault {
        severity: Severity::Warning,
        code: "misspelt-kind",
        message: format!("{api_version} {kind} is passed over, though it is nearly {version} {meant}"),
        help: format!("write apiVersion: {version}, kind: {meant}; or leave it out"),
    })
}

/// The name that is meant, in whatever case; not where it is far shorter than what may be wrong in it.
fn near<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // What is far longer is near to none.
    let sound = known.into_iter().filter(|known| name.len() <= known.len().saturating_add(SLIPS_MAX));
    let slips = sound.map(|known| (distance(&name.to_lowercase(), &known.to_lowercase()), known));
    slips.filter(|(slips, _)| *slips <= SLIPS_MAX).min_by_key(|(slips, _)| *slips).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_in_kind_or_group_is_seen() {
        let told = |api_version: &str, kind: &str| fault(api_version, kind).map(|fault| (fault.severity, fault.code));
        for (api_version, kind) in [
            ("networking.istio.io/v2", "VirtualService"),
            ("networking.istio.io/v1alpha1", "Gateway"),
            ("networking.istio.io", "VirtualService"),
            ("networking.istio.io/v1", "VirtualServce"),
            ("networking.istio.io/v1", "virtualservice"),
            ("security.istio.io/v1", "AuthorisationPolicy"),
        ] {
            assert_eq!(told(api_version, kind), Some((Severity::Error, "unknown-kind")), "{api_version} {kind}");
        }
        for (api_version, kind) in [
            ("networkin.istio.io/v1", "VirtualService"),
            ("v1", "VirtualServices"),
            ("networking.istio.oi/v1", "gateway"),
            ("shunt.io/v1alpha1", "ShuntPolicy"),
            ("v1alpha1", "shuntpolicy"),
        ] {
            assert_eq!(told(api_version, kind), Some((Severity::Warning, "misspelt-kind")), "{api_version} {kind}");
        }
        for (api_version, kind) in [
            ("networking.istio.io/v1alpha3", "VirtualService"),
            ("networking.istio.io/v1beta1", "ProxyConfig"),
            ("gateway.networking.k8s.io/v1", "Gateway"),
            ("gateway.solo.io/v1", "VirtualService"),
            ("v1", "Service"),
            ("apps/v1", "Deployment"),
        ] {
            assert_eq!(told(api_version, kind), None, "{api_version} {kind}");
        }
    }

    #[test]
    fn what_rules_traffic_has_a_way_out_and_nothing_else_has() {
        for (api_version, kind) in [
            ("gateway.networking.k8s.io/v1", "HTTPRoute"),
            ("config.istio.io/v1alpha2", "RouteRule"),
            ("networking.istio.io/v1alpha3", "EnvoyFilter"),
            ("networking.k8s.io/v1", "Ingress"),
        ] {
            assert!(way_out(api_version, kind).is_some(), "{kind}");
        }
        for (api_version, kind) in [("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("example.com/v1", "HTTPRoute")] {
            assert_eq!(way_out(api_version, kind), None, "{kind}");
        }
    }
}
