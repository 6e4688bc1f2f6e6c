//! What the tests of rendering share: Istio's YAML in, plan and filter configuration out.

use envoy_plan::Plan;
use istio_config::{Config, Diagnostics, FilterConfig, yaml};

/// The plan of a configuration without errors, and the filter's configuration with its bindings.
pub(crate) fn read(text: &str) -> (Plan, FilterConfig) {
    let (mut config, mut sources, mut diagnostics) =
        (Config::default(), yaml::Sources::default(), Diagnostics::default());
    yaml::read("test.yaml", text, &mut config, &mut sources, &mut diagnostics);
    config.complete(&mut diagnostics);
    let (plan, bindings) = Plan::build(&config, &mut diagnostics);
    assert!(!diagnostics.has_errors(), "{diagnostics:?}");
    (plan, FilterConfig { config, bindings, namespace: "default".to_owned(), ..FilterConfig::default() })
}
