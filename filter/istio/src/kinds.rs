//! Kinds that are not served although they say where requests go, and what to do about each.
//!
//! Passing over a ConfigMap is right; passing over an HTTPRoute in silence would let its author believe that it works.

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

#[cfg(test)]
mod tests {
    use super::*;

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
