//! From manifests to what every host runs on: a plan, and the configuration of the filter that belongs to it.

use crate::arguments::{Manifests, Mesh};
use crate::failure::Failure;
use crate::input::{self, Input};
use envoy_plan::{Caller, Locality, Plan};
use istio_config::filter_config::{RepeatedHeaders, Tracing};
use istio_config::outbound::OutboundMode;
use istio_config::yaml::Sources;
use istio_config::{Diagnostic, Diagnostics, FilterConfig, ObjectRef};
use std::collections::BTreeMap;
use std::sync::Arc;
use traffic_explain::carried::Surroundings;
use traffic_policy::Policy;
use traffic_sim::{Configuration, Rules, Workload};

/// One configuration, checked.
pub(crate) struct Deployment {
    pub(crate) plan: Arc<Plan>,
    pub(crate) filter: FilterConfig,
    /// The rules again, compiled natively: for questions that need no host.
    pub(crate) policy: Policy,
    /// What was found on the way.
    pub(crate) findings: Diagnostics,
    sources: Arc<Sources>,
}

/// What no manifest says and the filter has to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wished {
    pub(crate) fresh_spans: bool,
    pub(crate) outbound: Option<OutboundMode>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) locality: Locality,
    pub(crate) repeated_headers: RepeatedHeaders,
}

impl From<&Mesh> for Wished {
    fn from(mesh: &Mesh) -> Self {
        let Mesh { path_normalization: _, fresh_spans, outbound_traffic_policy, repeated_headers, labels, locality } =
            mesh;
        let labels = labels.iter().cloned().collect();
        Self {
            fresh_spans: *fresh_spans,
            outbound: *outbound_traffic_policy,
            labels,
            locality: locality.clone(),
            repeated_headers: *repeated_headers,
        }
    }
}

impl Deployment {
    /// Reads and checks manifests; every finding is printed.
    pub(crate) fn load(manifests: &Manifests, mesh: &Mesh) -> Result<Self, Failure> {
        let Manifests { files, recursive, namespace, strict } = manifests;
        Self::new(Input::read(files, *recursive)?, namespace, mesh.into(), *strict)
    }

    /// The same, and findings are printed only where they refuse the manifests; else [`Deployment::report`] prints them.
    pub(crate) fn load_quietly(manifests: &Manifests, mesh: &Mesh) -> Result<Self, Failure> {
        let Manifests { files, recursive, namespace, strict } = manifests;
        Self::accepted(Input::read(files, *recursive)?, namespace, mesh.into(), |input| input.accept_quietly(*strict))
    }

    /// Prints the findings that `is_meant` picks.
    pub(crate) fn report(&self, is_meant: impl Fn(&Diagnostic) -> bool) {
        input::report(self.findings.iter().filter(|found| is_meant(found)), &self.sources);
    }

    /// Checks what was read: by the same engine that the filter is, so that nothing it would refuse gets that far.
    pub(crate) fn new(input: Input, namespace: &str, wished: Wished, strict: bool) -> Result<Self, Failure> {
        Self::accepted(input, namespace, wished, |input| input.accept(strict))
    }

    /// The same, and findings are printed only where they refuse the manifests.
    pub(crate) fn new_quietly(input: Input, namespace: &str, wished: Wished) -> Result<Self, Failure> {
        Self::accepted(input, namespace, wished, |input| input.accept_quietly(false))
    }

    fn accepted(
        mut input: Input,
        namespace: &str,
        wished: Wished,
        accept: impl FnOnce(&Input) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        input.config.complete(&mut input.diagnostics);
        let Wished { fresh_spans, outbound, labels, locality, repeated_headers } = wished;
        let caller = Caller { namespace: namespace.to_owned(), locality, labels: labels.clone() };
        let (mut plan, bindings) = Plan::build_for(&input.config, &caller, None, &mut input.diagnostics);
        let outbound = outbound.map(|mode| plan.let_out(mode));
        let filter = FilterConfig {
            config: std::mem::take(&mut input.config),
            bindings,
            namespace: namespace.to_owned(),
            labels,
            tracing: Tracing { fresh_spans },
            outbound,
            repeated_headers,
            ..FilterConfig::default()
        };
        let policy = Policy::compile(&filter, &mut input.diagnostics);
        rule_analysis::warn_of_refused(&filter.config, &mut input.diagnostics);
        accept(&input)?;
        // Without a policy there was an error, and that was not accepted.
        let policy = policy.ok_or(Failure::Found)?;
        let (findings, sources) = (input.diagnostics, Arc::new(input.sources));
        Ok(Self { plan: Arc::new(plan), filter, policy, findings, sources })
    }

    /// Where its objects stand.
    pub(crate) fn sources(&self) -> Arc<Sources> {
        self.sources.clone()
    }

    /// What an explanation needs beside the filter.
    pub(crate) fn surroundings(&self) -> Surroundings {
        let sources = self.sources.clone();
        let places = move |object: &ObjectRef, path: &str| {
            let (file, at) = sources.locate(object, path)?;
            Some(format!("{file}:{}", at.line))
        };
        let (config, namespace) = (self.filter.config.clone(), self.filter.namespace.clone());
        Surroundings { plan: self.plan.clone(), config, namespace, places: Box::new(places) }
    }

    /// The same for the proxies of a rehearsal: one for the clients, and one beside each workload that makes calls.
    pub(crate) fn rules(&self) -> Rules {
        let filter = self.filter.clone();
        let configuration = move |workload: &Workload| {
            let Workload { namespace, labels } = workload.clone();
            FilterConfig { namespace, labels, ..filter.clone() }.to_json().to_string().into_bytes()
        };
        let filter = self.filter.inbound();
        let inbound = move |workload: &Workload| {
            let Workload { namespace, labels } = workload.clone();
            FilterConfig { namespace, labels, ..filter.clone() }.to_json().to_string().into_bytes()
        };
        let inbound = self.filter.keeps_context().then(|| Arc::new(inbound) as Configuration);
        Rules { configuration: Arc::new(configuration), plan: self.plan.clone(), inbound }
    }

    /// The same on the inbound side.
    pub(crate) fn inbound_configuration(&self) -> Vec<u8> {
        self.filter.inbound().to_json().to_string().into_bytes()
    }

    /// The filter's configuration as the filter takes it.
    pub(crate) fn filter_configuration(&self) -> Vec<u8> {
        self.filter.to_json().to_string().into_bytes()
    }
}
