//! The moments of a scenario at work: each changes the rules, the plan or a version's model.

use std::sync::Arc;

use envoy_plan::{Endpoint, Plan};
use host_abi::StartError;
use upstream::Timestamp;

use crate::engine::{Engine, Rules};
use crate::names::{carries, host_of, is_host};
use crate::run::Later;
use crate::run::models::Models;
use crate::scenario::{Break, Moment, Scale, ScenarioError, Which};

/// Names of moments in the engine count down from here; those of clients count up from 0.
const LAST_NAME: u64 = u64::MAX;

/// What is still to happen, and what holds by now.
pub(super) struct Timeline<'a> {
    moments: &'a [Moment],
    /// Of each moment that applies manifests, what they say; in order.
    later: std::vec::IntoIter<Later>,
    rules: Rules,
    scales: Vec<Scale>,
}

impl<'a> Timeline<'a> {
    pub(super) fn new(moments: &'a [Moment], rules: Rules, later: Vec<Later>) -> Self {
        Self { moments, later: later.into_iter(), rules, scales: Vec::new() }
    }

    /// Plans all moments.
    pub(super) fn start(&self, engine: &mut Engine) {
        for (moment, name) in self.moments.iter().zip(0_u64..) {
            engine.plan_outside(Timestamp::from_nanos(moment.at.as_nanos()), LAST_NAME - name);
        }
    }

    /// The moment of this name; `None`: it is a client's.
    pub(super) fn moment(&self, name: u64) -> Option<&'a Moment> {
        self.moments.get(usize::try_from(LAST_NAME - name).ok()?)
    }

    /// It has come. Whether other rules hold from now on.
    ///
    /// # Errors
    ///
    /// A filter does not take its new configuration.
    pub(super) fn come(
        &mut self,
        moment: &Moment,
        engine: &mut Engine,
        models: &mut Models,
    ) -> Result<bool, Box<StartError>> {
        let Moment { at: _, apply, scale, breaks, mend } = moment;
        if let Some(Break { host, labels, outcomes }) = breaks {
            models.breaks(&Which { host: host.clone(), labels: labels.clone() }, outcomes);
        }
        if let Some(which) = mend {
            models.mend(which);
        }
        let later = apply.as_ref().and_then(|_| self.later.next());
        let applies = later.is_some();
        if let Some(Later { rules, configured: _ }) = later {
            self.rules = rules;
        }
        if let Some(scale) = scale {
            self.scales.retain(|old| (&old.host, &old.labels) != (&scale.host, &scale.labels));
            self.scales.push(scale.clone());
        }
        if applies || scale.is_some() {
            let plan = Arc::new(scaled(&self.rules.plan, &self.scales));
            let rules = Rules { plan, ..self.rules.clone() };
            if applies {
                engine.configure(&rules)?
            } else {
                engine.scale(&rules)
            }
            models.forget();
        }
        Ok(applies)
    }
}

/// What is wrong with the moments: versions and services that there are not.
pub(super) fn check(moments: &[Moment], models: &Models, plans: &[&Plan]) -> Vec<ScenarioError> {
    let mut errors = Vec::new();
    for (index, moment) in moments.iter().enumerate() {
        let at = format!("spec.timeline[{index}]");
        let Moment { at: _, apply: _, scale, breaks, mend } = moment;
        let broken =
            breaks.as_ref().map(|Break { host, labels, .. }| Which { host: host.clone(), labels: labels.clone() });
        for (field, which) in [("break", &broken), ("mend", mend)] {
            if let Some(which) = which
                && !models.knows(which)
            {
                let message = format!("no version of `{}` with these labels stands under `services`", which.host);
                errors.push(ScenarioError::new(format!("{at}.{field}"), message));
            }
        }
        if let Some(Scale { host, labels, endpoints: _ }) = scale {
            let mut clusters = plans.iter().flat_map(|plan| plan.clusters.values());
            let is_there = clusters.any(|cluster| {
                is_host(host, host_of(&cluster.name))
                    && cluster.endpoints.iter().any(|own| carries(&own.labels, labels))
            });
            if !is_there {
                let message = format!("the manifests have no endpoint of `{host}` with these labels");
                errors.push(ScenarioError::new(format!("{at}.scale"), message));
            }
        }
    }
    errors
}

/// The plan with other numbers of endpoints.
fn scaled(plan: &Plan, scales: &[Scale]) -> Plan {
    let mut plan = plan.clone();
    for Scale { host, labels, endpoints: wanted } in scales {
        let wanted = usize::try_from(*wanted).unwrap_or(usize::MAX);
        for cluster in plan.clusters.values_mut().filter(|cluster| is_host(host, host_of(&cluster.name))) {
            let (own, others): (Vec<Endpoint>, Vec<Endpoint>) =
                std::mem::take(&mut cluster.endpoints).into_iter().partition(|own| carries(&own.labels, labels));
            let copies = own.last().cloned().into_iter().flat_map(|last| {
                // Nothing connects to it, so any address that is no other's will do.
                (2_u32..).map(move |number| Endpoint { address: format!("{}#{number}", last.address), ..last.clone() })
            });
            cluster.endpoints =
                own.iter().cloned().chain(copies).take(if own.is_empty() { 0 } else { wanted }).collect();
            cluster.endpoints.extend(others);
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn plan() -> Plan {
        let mut plan = Plan::default();
        let labels = |version: &str| BTreeMap::from([("version".to_owned(), version.to_owned())]);
        let endpoint = |address: &str, version: &str| Endpoint {
            address: address.to_owned(),
            port: 80,
            weight: 1,
            labels: labels(version),
            ..Endpoint::default()
        };
        let endpoints = vec![endpoint("10.0.0.1", "v1"), endpoint("10.0.0.2", "v1"), endpoint("10.0.0.3", "v2")];
        let name = "outbound|80||logic.default".to_owned();
        let cluster = envoy_plan::Cluster { name: name.clone(), endpoints, ..envoy_plan::Cluster::default() };
        plan.clusters.insert(name, cluster);
        plan
    }

    #[track_caller]
    fn check(host: &str, version: &str, endpoints: u32, expected: &str) {
        let labels = BTreeMap::from([("version".to_owned(), version.to_owned())]);
        let plan = scaled(&plan(), &[Scale { host: host.to_owned(), labels, endpoints }]);
        let cluster = plan.clusters.values().next().unwrap();
        let told: Vec<&str> = cluster.endpoints.iter().map(|endpoint| endpoint.address.as_str()).collect();
        assert_eq!(told.join(" "), expected);
    }

    #[test]
    fn the_last_endpoints_go_and_copies_come() {
        check("logic", "v1", 1, "10.0.0.1 10.0.0.3");
        check("logic", "v1", 0, "10.0.0.3");
        check("logic", "v1", 4, "10.0.0.1 10.0.0.2 10.0.0.2#2 10.0.0.2#3 10.0.0.3");
        check("logic", "v9", 4, "10.0.0.1 10.0.0.2 10.0.0.3");
        check("other", "v1", 4, "10.0.0.1 10.0.0.2 10.0.0.3");
    }
}
