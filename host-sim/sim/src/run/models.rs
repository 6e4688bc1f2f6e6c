//! The services of a scenario at work: each attempt draws an outcome and a latency of its version.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use envoy_plan::{PASSTHROUGH_CLUSTER, Plan};
use upstream::Endpoint;

use crate::behaviour::{Answer, Behaviour, Outcome};
use crate::chance::Chance;
use crate::scenario::{Fault, Latency, OutcomeSpec, ScenarioError, ServiceSpec};

/// All versions of all services, and which endpoint is which.
pub(crate) struct Models {
    versions: Vec<Model>,
    /// By endpoint number; filled as endpoints are met.
    by_endpoint: Vec<Met>,
    /// Endpoints that nobody describes, as the report names them.
    undescribed: Vec<String>,
    healthy: Rc<Answer>,
}

#[derive(Clone, Copy, Debug)]
enum Met {
    Never,
    Undescribed,
    As(usize),
}

/// One version.
struct Model {
    host: String,
    /// It is not in the registry: requests that pass through may name it.
    outside: bool,
    labels: BTreeMap<String, String>,
    /// Running sums of the shares, with what happens.
    outcomes: Vec<(u64, Latency, Outcome)>,
    choice: Chance,
    latency: Chance,
}

impl Models {
    /// Makes the models.
    ///
    /// # Errors
    ///
    /// A service or version that no endpoint of the plan belongs to: most likely a slip of the pen. Where requests may pass
    /// through, an unknown service is the world outside; it has no labels.
    pub(crate) fn new(services: &[ServiceSpec], plan: &Plan, seed: u64) -> Result<Self, Vec<ScenarioError>> {
        let (mut versions, mut errors) = (Vec::new(), Vec::new());
        for (index, service) in services.iter().enumerate() {
            let field = format!("spec.services[{index}]");
            let clusters = || plan.clusters.values().filter(|cluster| is_host(&service.host, host_of(&cluster.name)));
            let outside = clusters().next().is_none() && plan.clusters.contains_key(PASSTHROUGH_CLUSTER);
            if clusters().next().is_none() && !outside {
                let message = format!("the manifests have no service `{}`", service.host);
                errors.push(ScenarioError::new(format!("{field}.host"), message));
                continue;
            }
            for (index, version) in service.versions.iter().enumerate() {
                let mut endpoints = clusters().flat_map(|cluster| &cluster.endpoints);
                let fits = match outside {
                    true => version.labels.is_empty(),
                    false => endpoints.any(|endpoint| carries(&endpoint.labels, &version.labels)),
                };
                if !fits {
                    let message = format!("no endpoint of `{}` has these labels", service.host);
                    errors.push(ScenarioError::new(format!("{field}.versions[{index}].labels"), message));
                }
                let stream = |what: &str| Chance::new(seed, &format!("{what} {}/{index}", service.host));
                versions.push(Model {
                    host: service.host.clone(),
                    outside,
                    labels: version.labels.clone(),
                    outcomes: outcomes(&version.outcomes),
                    choice: stream("outcome"),
                    latency: stream("latency"),
                });
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let healthy = Rc::new(Answer::new(200, [("", ""); 0], Bytes::new()));
        Ok(Self { versions, by_endpoint: Vec::new(), undescribed: Vec::new(), healthy })
    }

    /// What this endpoint does with the next attempt.
    pub(crate) fn behave(&mut self, endpoint: &Endpoint) -> Behaviour {
        let met = self.meet(endpoint);
        if matches!(met, Met::Undescribed) && is_outside(endpoint) {
            return Behaviour::unresolved();
        }
        let Met::As(version) = met else {
            return Behaviour { after: Duration::ZERO, outcome: Outcome::Answer(Rc::clone(&self.healthy)) };
        };
        let drawn = self.versions.get_mut(version).and_then(Model::draw);
        drawn.unwrap_or(Behaviour { after: Duration::ZERO, outcome: Outcome::Answer(Rc::clone(&self.healthy)) })
    }

    /// Endpoints that were asked and that nobody describes, sorted.
    pub(crate) fn undescribed(mut self) -> Vec<String> {
        self.undescribed.sort();
        self.undescribed.dedup();
        self.undescribed
    }

    fn meet(&mut self, endpoint: &Endpoint) -> Met {
        let place = usize::try_from(endpoint.id()).unwrap_or(usize::MAX);
        if let Some(met @ (Met::As(_) | Met::Undescribed)) = self.by_endpoint.get(place) {
            return *met;
        }
        let found = self.versions.iter().position(|model| model.describes(endpoint));
        let met = found.map_or(Met::Undescribed, Met::As);
        if found.is_none() && !is_outside(endpoint) {
            self.undescribed.push(format!("{} {}", host(endpoint), labels(endpoint)).trim_end().to_owned());
        }
        if self.by_endpoint.len() <= place {
            self.by_endpoint.resize(place.saturating_add(1), Met::Never);
        }
        if let Some(slot) = self.by_endpoint.get_mut(place) {
            *slot = met;
        }
        met
    }
}

impl Model {
    fn describes(&self, endpoint: &Endpoint) -> bool {
        if is_outside(endpoint) {
            return self.outside && self.host.eq_ignore_ascii_case(endpoint.address());
        }
        !self.outside && is_host(&self.host, host(endpoint)) && carries(endpoint.labels(), &self.labels)
    }

    fn draw(&mut self) -> Option<Behaviour> {
        let total = self.outcomes.last()?.0;
        let drawn = if self.outcomes.len() > 1 { self.choice.below(total) } else { 0 };
        let place = self.outcomes.partition_point(|(sum, ..)| *sum <= drawn);
        let (_, latency, outcome) = self.outcomes.get(place)?;
        let after = Duration::from_nanos(latency.draw(&mut self.latency));
        Some(Behaviour { after, outcome: outcome.clone() })
    }
}

fn outcomes(specs: &[OutcomeSpec]) -> Vec<(u64, Latency, Outcome)> {
    let mut sum = 0_u64;
    let compiled = specs.iter().map(|spec| {
        let OutcomeSpec { share, status, fault, latency, body, headers } = spec;
        sum = sum.saturating_add(*share);
        let outcome = match fault {
            Some(Fault::ConnectionClosed) => Outcome::ConnectionClosed,
            Some(Fault::Refused) => Outcome::Refused,
            Some(Fault::NeverAnswers) => Outcome::NeverAnswers,
            None => Outcome::Answer(Rc::new(Answer::new(
                status.unwrap_or(200),
                headers,
                Bytes::copy_from_slice(body.as_bytes()),
            ))),
        };
        (sum, latency.clone(), outcome)
    });
    compiled.collect()
}

/// Whether the request has named the endpoint itself.
fn is_outside(endpoint: &Endpoint) -> bool {
    endpoint.cluster() == PASSTHROUGH_CLUSTER
}

/// The service an endpoint belongs to.
pub(crate) fn host(endpoint: &Endpoint) -> &str {
    if is_outside(endpoint) {
        return endpoint.address();
    }
    host_of(endpoint.cluster())
}

/// How a report names the version an endpoint belongs to.
pub(crate) fn labels(endpoint: &Endpoint) -> String {
    let labels: Vec<String> = endpoint.labels().iter().map(|(name, value)| format!("{name}={value}")).collect();
    labels.join(",")
}

/// The host in `outbound|PORT|SUBSET|HOST`; a name of another form is its own host.
pub(crate) fn host_of(cluster: &str) -> &str {
    cluster.splitn(4, '|').nth(3).unwrap_or(cluster)
}

/// Whether `wanted` is this host, or its first labels.
pub(crate) fn is_host(wanted: &str, host: &str) -> bool {
    host.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

pub(crate) fn carries(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_known_by_their_first_labels() {
        let host = host_of("outbound|80|v1|sa-logic.default.svc.cluster.local");
        assert!(is_host("sa-logic", host) && is_host("sa-logic.default", host) && is_host(host, host));
        assert!(!is_host("sa", host) && !is_host("logic", host));
    }
}
