//! From manifests to what every host runs on: a plan, and the configuration of the filter that belongs to it.

use crate::arguments::{Manifests, Mesh};
use crate::failure::Failure;
use crate::input::Input;
use envoy_plan::Plan;
use istio_config::filter_config::Tracing;
use istio_config::outbound::OutboundMode;
use istio_config::yaml::Sources;
use istio_config::{FilterConfig, ObjectRef};
use std::collections::BTreeMap;
use std::sync::Arc;
use traffic_explain::carried::Surroundings;
use traffic_policy::Policy;

/// One configuration, checked.
pub(crate) struct Deployment {
    pub(crate) plan: Arc<Plan>,
    pub(crate) filter: FilterConfig,
    /// The rules again, compiled natively: for questions that need no host.
    pub(crate) policy: Policy,
    sources: Arc<Sources>,
}

/// What no manifest says and the filter has to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wished {
    pub(crate) fresh_spans: bool,
    pub(crate) outbound: Option<OutboundMode>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Deployment {
    /// Reads and checks manifests; every finding is printed.
    pub(crate) fn load(manifests: &Manifests, mesh: &Mesh) -> Result<Self, Failure> {
        let Manifests { files, recursive, namespace, strict } = manifests;
        let Mesh { path_normalization: _, fresh_spans, outbound_traffic_policy, labels } = mesh;
        let labels = labels.iter().cloned().collect();
        let wished = Wished { fresh_spans: *fresh_spans, outbound: *outbound_traffic_policy, labels };
        Self::new(Input::read(files, *recursive)?, namespace, wished, *strict)
    }

    /// Checks what was read: by the same engine that the filter is, so that nothing it would refuse gets that far.
    pub(crate) fn new(mut input: Input, namespace: &str, wished: Wished, strict: bool) -> Result<Self, Failure> {
        input.config.complete(&mut input.diagnostics);
        let (mut plan, bindings) = Plan::build(&input.config, &mut input.diagnostics);
        let Wished { fresh_spans, outbound, labels } = wished;
        let outbound = outbound.map(|mode| plan.let_out(mode));
        let filter = FilterConfig {
            config: std::mem::take(&mut input.config),
            bindings,
            namespace: namespace.to_owned(),
            labels,
            tracing: Tracing { fresh_spans },
            outbound,
            ..FilterConfig::default()
        };
        let policy = Policy::compile(&filter, &mut input.diagnostics);
        rule_analysis::warn_of_refused(&filter.config, &mut input.diagnostics);
        input.accept(strict)?;
        // Without a policy there was an error, and that was not accepted.
        let policy = policy.ok_or(Failure::Found)?;
        Ok(Self { plan: Arc::new(plan), filter, policy, sources: Arc::new(input.sources) })
    }

    /// What an explanation needs beside the filter.
    pub(crate) fn surroundings(&self) -> Surroundings {
        let sources = self.sources.clone();
        let places = move |object: &ObjectRef, path: &str| {
            let (file, at) = sources.locate(object, path)?;
            Some(format!("{file}:{}", at.line))
        };
        Surroundings { plan: self.plan.clone(), config: self.filter.config.clone(), places: Box::new(places) }
    }

    /// The filter's configuration as the filter takes it.
    pub(crate) fn filter_configuration(&self) -> Vec<u8> {
        self.filter.to_json().to_string().into_bytes()
    }
}
