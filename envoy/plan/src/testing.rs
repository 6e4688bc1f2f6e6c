//! What the tests of this crate share: text in, plan and findings out.

use crate::{Caller, Plan, Profile};
use istio_config::filter_config::ProfileBinding;
use istio_config::{Config, Diagnostics, yaml};

/// `a` on port 80 with three endpoints in two versions, and `two.example.com` with two ports.
pub(crate) const SERVICES: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
  - {address: 10.0.0.1, labels: {version: v1}}
  - {address: 10.0.0.2, labels: {version: v2, color: blue}}
  - {address: 10.0.0.3, labels: {version: v2, color: green}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: two}
spec:
  hosts: [two.example.com]
  resolution: STATIC
  ports: [{number: 8080, name: http, protocol: HTTP}, {number: 9090, name: grpc, protocol: GRPC}]
  endpoints: [{address: 10.0.1.1}]
";

/// A configuration of [`SERVICES`] and the VirtualService `v` for host `a` with these rules.
pub(crate) fn rules(http: &[&str]) -> String {
    format!(
        "{SERVICES}---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v}}\nspec: {{hosts: [a], http: [{}]}}\n",
        http.join(", ")
    )
}

/// The plan, its bindings, and the findings as `Kind path: severity[code]`.
pub(crate) fn build(text: &str) -> (Plan, Vec<ProfileBinding>, Vec<String>) {
    let (mut config, mut sources, mut diagnostics) =
        (Config::default(), yaml::Sources::default(), Diagnostics::default());
    yaml::read("test.yaml", text, &mut config, &mut sources, &mut diagnostics);
    assert!(!diagnostics.has_errors(), "the test's own text is faulty: {diagnostics:?}");
    let (plan, bindings) = Plan::build(&config, &mut diagnostics);
    let findings = diagnostics.iter().map(|d| format!("{} {}: {}[{}]", d.object.kind, d.path, d.severity, d.code));
    (plan, bindings, findings.collect())
}

/// The plan of a caller; no error is found on the way.
pub(crate) fn build_for(text: &str, caller: &Caller) -> Plan {
    let (mut config, mut sources, mut diagnostics) =
        (Config::default(), yaml::Sources::default(), Diagnostics::default());
    yaml::read("test.yaml", text, &mut config, &mut sources, &mut diagnostics);
    let (plan, _) = Plan::build_for(&config, caller, None, &mut diagnostics);
    assert!(!diagnostics.has_errors(), "{diagnostics:?}");
    plan
}

/// Builds and compares the findings.
pub(crate) fn check_findings(text: &str, expected: &[&str]) {
    assert_eq!(build(text).2, expected, "{text}");
}

/// The profile of a single rule that draws no mirrors.
pub(crate) fn profile_of(rule: &str) -> Profile {
    let (plan, bindings, _) = build(&rules(&[rule]));
    let name = bindings.first().map_or("default", |binding| binding.profiles.first().map_or("", String::as_str));
    plan.profiles.into_iter().find(|profile| profile.name == name).unwrap()
}
