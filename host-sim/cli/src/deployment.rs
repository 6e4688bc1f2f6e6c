//! From manifests to what every host runs on: a plan, and the configuration of the filter that belongs to it.

use crate::arguments::Manifests;
use crate::failure::Failure;
use crate::input::Input;
use envoy_plan::Plan;
use istio_config::FilterConfig;
use std::sync::Arc;
use traffic_policy::Policy;

/// One configuration, checked.
pub(crate) struct Deployment {
    pub(crate) plan: Arc<Plan>,
    pub(crate) filter: FilterConfig,
    /// The rules again, compiled natively: for questions that need no host.
    pub(crate) policy: Policy,
}

impl Deployment {
    /// Reads and checks manifests; every finding is printed.
    pub(crate) fn load(manifests: &Manifests) -> Result<Self, Failure> {
        let Manifests { files, recursive, namespace, strict } = manifests;
        Self::new(Input::read(files, *recursive)?, namespace, *strict)
    }

    /// Checks what was read: by the same engine that the filter is, so that nothing it would refuse gets that far.
    pub(crate) fn new(mut input: Input, namespace: &str, strict: bool) -> Result<Self, Failure> {
        input.config.complete(&mut input.diagnostics);
        let (plan, bindings) = Plan::build(&input.config, &mut input.diagnostics);
        let filter = FilterConfig {
            config: std::mem::take(&mut input.config),
            bindings,
            namespace: namespace.to_owned(),
            ..FilterConfig::default()
        };
        let policy = Policy::compile(&filter, &mut input.diagnostics);
        input.accept(strict)?;
        // Without a policy there was an error, and that was not accepted.
        let policy = policy.ok_or(Failure::Found)?;
        Ok(Self { plan: Arc::new(plan), filter, policy })
    }

    /// The filter's configuration as the filter takes it.
    pub(crate) fn filter_configuration(&self) -> Vec<u8> {
        self.filter.to_json().to_string().into_bytes()
    }
}
