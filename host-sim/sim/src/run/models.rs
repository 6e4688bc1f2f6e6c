//! The services of a scenario at work: each attempt draws an outcome, a latency and calls of its version.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use envoy_plan::{PASSTHROUGH_CLUSTER, Plan};
use host_abi::HeaderMap;
use upstream::{Endpoint, Timestamp};

use crate::behaviour::{Answer, Behaviour, Call, Outcome, Workplace};
use crate::chance::Chance;
use crate::engine::{RequestSpec, Sent};
use crate::names::{carries, host, host_of, is_host, is_outside, labels};
use crate::scenario::{
    CallSpec, Capacity, Count, Fault, Latency, OnFailure, OutcomeSpec, ScenarioError, ServiceSpec, VersionSpec, When,
    Which,
};
use crate::span::Span;

/// All versions of all services, and which endpoint is which.
pub(crate) struct Models {
    versions: Vec<Model>,
    /// By sender and endpoint number; filled as endpoints are met.
    by_endpoint: Vec<Vec<Met>>,
    workplaces: BTreeMap<String, usize>,
    /// Endpoints that nobody describes, as the report names them.
    undescribed: Vec<String>,
    healthy: Behaviour,
}

#[derive(Clone, Copy, Debug)]
enum Met {
    Never,
    Undescribed,
    /// This version, at the workplace of this number.
    As(usize, usize),
}

/// One version.
struct Model {
    host: String,
    /// It is not in the registry: requests that pass through may name it.
    outside: bool,
    labels: BTreeMap<String, String>,
    capacity: Option<Workplace>,
    calls: Vec<CallModel>,
    outcomes: Outcomes,
    /// What it does instead of these.
    broken: Option<Outcomes>,
    /// For requests that no outcome may happen to.
    lost: Outcome,
    choice: Chance,
    latency: Chance,
    calling: Chance,
    /// How many it has had.
    attempts: u64,
}

struct Outcomes {
    all: Vec<OutcomeModel>,
    /// Running sums of the shares, where every outcome may happen to every request.
    sums: Option<Vec<u64>>,
}

struct OutcomeModel {
    when: When,
    from: Timestamp,
    until: Option<Timestamp>,
    until_request: Option<u64>,
    share: u64,
    latency: Latency,
    outcome: Outcome,
}

struct CallModel {
    when: When,
    /// In millionths.
    share: u64,
    count: Count,
    parallel: bool,
    call: Call,
}

impl Models {
    /// Makes the models.
    ///
    /// # Errors
    ///
    /// A service or version that no endpoint of a plan belongs to, now or later: most likely a slip of the pen. Where requests may pass
    /// through, an unknown service is the world outside; it has no labels, and makes no calls.
    pub(crate) fn new(services: &[ServiceSpec], plans: &[&Plan], seed: u64) -> Result<Self, Vec<ScenarioError>> {
        let (mut versions, mut errors) = (Vec::new(), Vec::new());
        for (index, service) in services.iter().enumerate() {
            let field = format!("spec.services[{index}]");
            let all = || plans.iter().flat_map(|plan| plan.clusters.values());
            let clusters = || all().filter(|cluster| is_host(&service.host, host_of(&cluster.name)));
            let lets_out = plans.iter().any(|plan| plan.clusters.contains_key(PASSTHROUGH_CLUSTER));
            let outside = clusters().next().is_none() && lets_out;
            if clusters().next().is_none() && !outside {
                let message = format!("the manifests have no service `{}`", service.host);
                errors.push(ScenarioError::new(format!("{field}.host"), message));
                continue;
            }
            for (index, version) in service.versions.iter().enumerate() {
                let field = format!("{field}.versions[{index}]");
                let mut endpoints = clusters().flat_map(|cluster| &cluster.endpoints);
                let fits = match outside {
                    true => version.labels.is_empty(),
                    false => endpoints.any(|endpoint| carries(&endpoint.labels, &version.labels)),
                };
                if !fits {
                    let message = format!("no endpoint of `{}` has these labels", service.host);
                    errors.push(ScenarioError::new(format!("{field}.labels"), message));
                }
                if outside && !version.calls.is_empty() {
                    let message = "the world outside has no proxy that its calls could pass";
                    errors.push(ScenarioError::new(format!("{field}.calls"), message));
                }
                versions.push(Model::new(&service.host, outside, version, seed, index));
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            versions,
            by_endpoint: Vec::new(),
            workplaces: BTreeMap::new(),
            undescribed: Vec::new(),
            healthy: Behaviour::status(200),
        })
    }

    /// What this endpoint does with the next attempt.
    pub(crate) fn behave(&mut self, sent: &Sent<'_>) -> Behaviour {
        let met = self.meet(sent.sender, sent.endpoint);
        if matches!(met, Met::Undescribed) && is_outside(sent.endpoint) {
            return Behaviour::unresolved();
        }
        let Met::As(version, workplace) = met else { return self.healthy.clone() };
        let model = self.versions.get_mut(version);
        model.map_or_else(|| self.healthy.clone(), |model| model.draw(sent, workplace))
    }

    /// Whether a version is described so.
    pub(crate) fn knows(&self, which: &Which) -> bool {
        self.versions.iter().any(|model| model.is(which))
    }

    /// A version behaves otherwise.
    pub(crate) fn breaks(&mut self, which: &Which, outcomes: &[OutcomeSpec]) {
        for model in self.versions.iter_mut().filter(|model| model.is(which)) {
            model.broken = Some(Outcomes::new(outcomes));
        }
    }

    /// A version behaves as it was described.
    pub(crate) fn mend(&mut self, which: &Which) {
        self.versions.iter_mut().filter(|model| model.is(which)).for_each(|model| model.broken = None);
    }

    /// Endpoints may be others from now on.
    pub(crate) fn forget(&mut self) {
        self.by_endpoint.clear();
    }

    /// Endpoints that were asked and that nobody describes, sorted.
    pub(crate) fn undescribed(mut self) -> Vec<String> {
        self.undescribed.sort();
        self.undescribed.dedup();
        self.undescribed
    }

    fn meet(&mut self, sender: usize, endpoint: &Endpoint) -> Met {
        let place = usize::try_from(endpoint.id()).unwrap_or(usize::MAX);
        if let Some(met @ (Met::As(..) | Met::Undescribed)) =
            self.by_endpoint.get(sender).and_then(|endpoints| endpoints.get(place))
        {
            return *met;
        }
        let found = self.versions.iter().position(|model| model.describes(endpoint));
        let met = found.map_or(Met::Undescribed, |version| Met::As(version, self.workplace(endpoint)));
        if found.is_none() && !is_outside(endpoint) {
            self.undescribed.push(format!("{} {}", host(endpoint), labels(endpoint)).trim_end().to_owned());
        }
        if self.by_endpoint.len() <= sender {
            self.by_endpoint.resize(sender.saturating_add(1), Vec::new());
        }
        if let Some(endpoints) = self.by_endpoint.get_mut(sender) {
            if endpoints.len() <= place {
                endpoints.resize(place.saturating_add(1), Met::Never);
            }
            if let Some(slot) = endpoints.get_mut(place) {
                *slot = met;
            }
        }
        met
    }
}

impl Models {
    /// The number of a workplace: one for each service at each address, whatever cluster names it.
    fn workplace(&mut self, endpoint: &Endpoint) -> usize {
        let name = format!("{} {}:{}", host(endpoint), endpoint.address(), endpoint.port());
        let next = self.workplaces.len();
        *self.workplaces.entry(name).or_insert(next)
    }
}

impl Model {
    fn new(host: &str, outside: bool, version: &VersionSpec, seed: u64, index: usize) -> Self {
        let VersionSpec { labels, capacity, calls, forwards, outcomes } = version;
        let stream = |what: &str| Chance::new(seed, &format!("{what} {host}/{index}"));
        let forwards: Rc<[String]> = forwards.clone().into();
        Self {
            host: host.to_owned(),
            outside,
            labels: labels.clone(),
            capacity: capacity.map(|Capacity { concurrency, queue, status }| {
                let refusal = Rc::new(Answer::new(status, [("", ""); 0], Bytes::new()));
                Workplace { number: 0, concurrency, queue, refusal }
            }),
            calls: calls.iter().map(|call| CallModel::new(call, &forwards)).collect(),
            outcomes: Outcomes::new(outcomes),
            broken: None,
            lost: Outcome::Answer(Rc::new(Answer::new(404, [("", ""); 0], Bytes::new()))),
            choice: stream("outcome"),
            latency: stream("latency"),
            calling: stream("calls"),
            attempts: 0,
        }
    }

    fn is(&self, which: &Which) -> bool {
        (&self.host, &self.labels) == (&which.host, &which.labels)
    }

    fn describes(&self, endpoint: &Endpoint) -> bool {
        if is_outside(endpoint) {
            return self.outside && self.host.eq_ignore_ascii_case(endpoint.address());
        }
        !self.outside && is_host(&self.host, host(endpoint)) && carries(endpoint.labels(), &self.labels)
    }

    fn draw(&mut self, sent: &Sent<'_>, workplace: usize) -> Behaviour {
        self.attempts += 1;
        let outcomes = self.broken.as_ref().unwrap_or(&self.outcomes);
        let Some(OutcomeModel { latency, outcome, .. }) = outcomes.draw(sent, self.attempts, &mut self.choice) else {
            return Behaviour { outcome: self.lost.clone(), ..Behaviour::status(404) };
        };
        let after = Duration::from_nanos(latency.draw(&mut self.latency));
        let outcome = outcome.clone();
        let calls = self.calls(sent.headers);
        let workplace = self.capacity.as_ref().map(|capacity| Workplace { number: workplace, ..capacity.clone() });
        Behaviour { workplace, calls, after, outcome }
    }

    fn calls(&mut self, head: &HeaderMap) -> Vec<Call> {
        let mut calls = Vec::new();
        // Whether the one before has begun, or would have together with one that has.
        let mut joins = false;
        for CallModel { when, share, count, parallel, call } in &self.calls {
            let alongside = call.alongside && joins;
            let made = when.holds(head) && (*share >= MILLION || self.calling.below(MILLION) < *share);
            let count = match count {
                _ if !made => 0,
                Count::Fixed(count) => *count,
                Count::Uniform(low, high) => {
                    let more = self.calling.below(u64::from(high.saturating_sub(*low)) + 1);
                    low.saturating_add(u32::try_from(more).unwrap_or(0))
                }
            };
            joins = alongside || count > 0;
            calls.extend((0..count).map(|number| {
                let alongside = if number == 0 { alongside } else { *parallel };
                Call { alongside, ..call.clone() }
            }));
        }
        calls
    }
}

const MILLION: u64 = 1_000_000;

impl Outcomes {
    fn new(specs: &[OutcomeSpec]) -> Self {
        let all: Vec<OutcomeModel> = specs.iter().map(OutcomeModel::new).collect();
        let mut sum = 0_u64;
        let sums = all.iter().map(|outcome| {
            sum = sum.saturating_add(outcome.share);
            sum
        });
        let sums = sums.collect();
        Self { sums: all.iter().all(OutcomeModel::is_always).then_some(sums), all }
    }

    /// One of those that may happen to this attempt, the version's `number`th.
    fn draw(&self, sent: &Sent<'_>, number: u64, choice: &mut Chance) -> Option<&OutcomeModel> {
        if let Some(sums) = &self.sums {
            let total = sums.last().copied().unwrap_or(0);
            let drawn = if sums.len() > 1 { choice.below(total) } else { 0 };
            return self.all.get(sums.partition_point(|sum| *sum <= drawn));
        }
        let candidates = || self.all.iter().filter(|outcome| outcome.may_happen(sent, number));
        let total = candidates().fold(0_u64, |sum, outcome| sum.saturating_add(outcome.share));
        let mut drawn = if candidates().nth(1).is_some() { choice.below(total) } else { 0 };
        for outcome in candidates() {
            match drawn.checked_sub(outcome.share) {
                Some(rest) => drawn = rest,
                None => return Some(outcome),
            }
        }
        None
    }
}

impl OutcomeModel {
    /// Whether it may happen to every request at every time.
    fn is_always(&self) -> bool {
        let Self { when, from, until, until_request, .. } = self;
        when.is_always() && *from == Timestamp::default() && until.is_none() && until_request.is_none()
    }

    /// Whether it may happen to this attempt, the version's `number`th.
    fn may_happen(&self, sent: &Sent<'_>, number: u64) -> bool {
        self.share > 0
            && self.from <= sent.at
            && self.until.is_none_or(|until| sent.at < until)
            && self.until_request.is_none_or(|last| number <= last)
            && self.when.holds(sent.headers)
    }

    fn new(spec: &OutcomeSpec) -> Self {
        let OutcomeSpec { when, share, status, fault, latency, from, until, until_request, body, body_takes, headers } =
            spec;
        let moment = |span: Span| Timestamp::from_nanos(span.as_nanos());
        let outcome = match fault {
            Some(Fault::ConnectionClosed) => Outcome::ConnectionClosed,
            Some(Fault::Refused) => Outcome::Refused,
            Some(Fault::NeverAnswers) => Outcome::NeverAnswers,
            None => {
                let body = Bytes::copy_from_slice(body.as_bytes());
                let answer = Answer::new(status.unwrap_or(200), headers, body);
                Outcome::Answer(Rc::new(answer.with_slow_body(body_takes.unwrap_or_default().into())))
            }
        };
        Self {
            when: when.clone(),
            from: moment(from.unwrap_or_default()),
            until: until.map(moment),
            until_request: *until_request,
            share: *share,
            latency: latency.clone(),
            outcome,
        }
    }
}

impl CallModel {
    fn new(spec: &CallSpec, forwards: &Rc<[String]>) -> Self {
        let CallSpec {
            when,
            share,
            count,
            parallel,
            alongside,
            host,
            method,
            path,
            headers,
            body,
            timeout,
            on_failure,
        } = spec;
        let request = RequestSpec::new(method, host, path, headers, Bytes::copy_from_slice(body.as_bytes()));
        let request = match timeout {
            Some(timeout) => request.with_timeout((*timeout).into()),
            None => request,
        };
        let otherwise = match on_failure {
            OnFailure::Ignore => None,
            OnFailure::Status(status) => Some(Rc::new(Answer::new(*status, [("", ""); 0], Bytes::new()))),
        };
        let call = Call { request: Rc::new(request), forwards: forwards.clone(), alongside: *alongside, otherwise };
        Self { when: when.clone(), share: share.millionths, count: *count, parallel: *parallel, call }
    }
}
