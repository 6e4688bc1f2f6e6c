//! Whether a run came out as its scenario expects.
//!
//! [`Expectations::new`] proves before the run that each expectation can be evaluated; [`Expectations::judge`] reads the
//! report. What is a share may be judged at a confidence ([`bound`]), everything else is compared as it is.

mod bound;
mod measured;
mod quantity;

use std::collections::BTreeSet;

use envoy_plan::{PASSTHROUGH_CLUSTER, Plan};
use serde::Serialize;

pub use bound::Judgement;
pub(crate) use bound::{Bound, Confidence};
pub use measured::Seen;
pub use quantity::{Percent, Quantity};

use crate::expect::bound::{exactly, share_exactly};
use crate::expect::measured::{Whose, measure};
use crate::names::{carries, host_of, is_host};
use crate::report::{Report, count, percent, three_digits};
use crate::scenario::{ExpectSpec, Measure, OfSpec, ScenarioError, ServiceSpec, Wanted};

/// What came of one expectation.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expectation {
    /// Its name.
    pub name: String,
    /// What was wanted, in words: `at least 99.5 %`.
    pub wanted: String,
    /// How sure the judgement is, where it is one of chance.
    pub confidence: Option<Percent>,
    /// What was seen.
    pub seen: Seen,
    /// What came of it.
    pub judgement: Judgement,
    /// What is worth knowing beside: what noise explains, how many requests would tell, why there is nothing to judge.
    pub remark: String,
    #[serde(skip)]
    bound: Wanted,
}

/// The expectations of a scenario, each sure to be evaluable.
pub(crate) struct Expectations<'a> {
    all: Vec<(&'a ExpectSpec, Wanted, Whose<'a>)>,
}

impl<'a> Expectations<'a> {
    /// Looks up what they name.
    ///
    /// # Errors
    ///
    /// A service or version that the manifests do not have, or copies that cannot be told apart.
    pub(crate) fn new(
        specs: &'a [ExpectSpec],
        services: &[ServiceSpec],
        has_users: bool,
        plans: &[&Plan],
    ) -> Result<Self, Vec<ScenarioError>> {
        let (mut all, mut errors) = (Vec::new(), Vec::new());
        for (index, spec) in specs.iter().enumerate() {
            let whose = spec.of.as_ref().map_or(Ok(Whose::All), |of| whose(of, spec.measure, services, plans));
            let at = format!("spec.expect[{index}]");
            if spec.measure == Measure::UsersFailed && !has_users {
                errors.push(ScenarioError::new(format!("{at}.measure"), "the load has no `users`"));
            }
            if matches!(whose, Ok(Whose::Calls)) && services.iter().all(makes_no_calls) {
                errors.push(ScenarioError::new(format!("{at}.of.calls"), "no service makes any `calls`"));
            }
            match (whose, spec.wanted()) {
                (Ok(whose), Some(wanted)) => all.push((spec, wanted, whose)),
                // A scenario that was read has been checked.
                (Ok(_), None) => {}
                (Err((field, message)), _) => {
                    errors.push(ScenarioError::new(format!("{at}.of.{field}"), message));
                }
            }
        }
        if errors.is_empty() { Ok(Self { all }) } else { Err(errors) }
    }

    /// What came of each.
    pub(crate) fn judge(&self, report: &Report) -> Vec<Expectation> {
        let judged = self.all.iter().map(|(spec, wanted, whose)| {
            let seen = measure(spec, matches!(wanted, Wanted::Share(..)), whose, report);
            let told = Expectation::new(
                &spec.name,
                *wanted,
                spec.bound().map_or_else(String::new, |(_, bound)| bound.to_string()),
                seen,
            );
            if report.stopped { told.undecided("the run was stopped before its end") } else { told }
        });
        judged.collect()
    }
}

impl Expectation {
    fn new(name: &str, bound: Wanted, wanted: String, seen: Seen) -> Self {
        let confidence = if let Wanted::Share(_, Some(confidence)) = bound { Some(confidence.0) } else { None };
        let (judgement, remark) = judge(bound, seen);
        Self { name: name.to_owned(), wanted, confidence, seen, judgement, remark, bound }
    }

    fn undecided(self, why: &str) -> Self {
        Self { judgement: Judgement::Undecided, remark: why.to_owned(), ..self }
    }

    /// Several runs with different seeds, judged together. Shares with a confidence are those of all runs as if they were
    /// one; everything else must hold in each.
    pub(crate) fn together(runs: &[&Self]) -> Option<Self> {
        let first = runs.first()?;
        let worst = runs.iter().max_by_key(|run| run.judgement)?;
        if !matches!(first.bound, Wanted::Share(_, Some(_))) {
            return Some((*worst).clone());
        }
        let sum = runs.iter().fold((0_u64, 0_u64), |(parts, wholes), run| match run.seen {
            Seen::Share { part, whole } => (parts.saturating_add(part), wholes.saturating_add(whole)),
            Seen::Count(_) | Seen::TimeUs(_) | Seen::Nothing => (parts, wholes),
        });
        let seen = if sum.1 == 0 { Seen::Nothing } else { Seen::Share { part: sum.0, whole: sum.1 } };
        Some(Self::new(&first.name, first.bound, first.wanted.clone(), seen))
    }
}

fn judge(bound: Wanted, seen: Seen) -> (Judgement, String) {
    match (bound, seen) {
        (Wanted::Share(bound, None), Seen::Share { part, whole }) => (share_exactly(bound, part, whole), String::new()),
        (Wanted::Share(bound, Some(confidence)), Seen::Share { part, whole }) => {
            let judgement = confidence.judge(bound, part, whole);
            let remark = match (bound, judgement) {
                (Bound::Equal(share), _) if share.is_between() => {
                    let (low, high) = confidence.noise(share, whole);
                    format!("{} .. {} would be noise", percent(low, whole), percent(high, whole))
                }
                (_, Judgement::Undecided) => match confidence.enough(bound, part, whole) {
                    Some(enough) => format!("{} of these would tell, if the share stays", count(enough)),
                    None => "the share is so near to its bound that no number would tell".to_owned(),
                },
                _ => String::new(),
            };
            (judgement, remark)
        }
        (Wanted::Count(bound), Seen::Count(seen)) => (exactly(&bound, &seen), String::new()),
        // Percentiles are no truer than that, and nobody can see more.
        (Wanted::TimeUs(bound), Seen::TimeUs(seen)) => {
            (exactly(&bound.map(three_digits), &three_digits(seen)), String::new())
        }
        (Wanted::Share(..) | Wanted::Count(_) | Wanted::TimeUs(_), _) => {
            (Judgement::Failed, "nothing came that could be judged".to_owned())
        }
    }
}

/// Finds what is meant; else the field that is wrong and why.
fn whose<'a>(
    of: &'a OfSpec,
    measure: Measure,
    services: &[ServiceSpec],
    plans: &[&Plan],
) -> Result<Whose<'a>, (&'static str, String)> {
    let OfSpec { service, labels, calls: _ } = of;
    let Some(service) = service else { return Ok(Whose::Calls) };
    let all = || plans.iter().flat_map(|plan| plan.clusters.values());
    let clusters = || all().filter(|cluster| is_host(service, host_of(&cluster.name)));
    if clusters().next().is_none() {
        let is_outside = plans.iter().any(|plan| plan.clusters.contains_key(PASSTHROUGH_CLUSTER))
            && services.iter().any(|described| described.host.eq_ignore_ascii_case(service));
        return match is_outside {
            true if labels.is_empty() => Ok(Whose::Service { service, labels, clusters: BTreeSet::new() }),
            true => Err(("labels", format!("`{service}` is outside of the mesh, where nothing has labels"))),
            false => Err(("service", format!("the manifests have no service `{service}`"))),
        };
    }
    let is_of_copies = matches!(measure, Measure::Mirrors | Measure::MirrorSuccessRate);
    let mut own = BTreeSet::new();
    for cluster in clusters() {
        let fitting = cluster.endpoints.iter().filter(|endpoint| carries(&endpoint.labels, labels)).count();
        if fitting > 0 {
            own.insert(cluster.name.clone());
        }
        // Copies are counted by where they were sent.
        if is_of_copies && fitting > 0 && fitting < cluster.endpoints.len() && is_mirrored(plans, &cluster.name) {
            let message = format!("copies to `{}` may go to endpoints with and without these labels", cluster.name);
            return Err(("labels", message));
        }
    }
    if own.is_empty() {
        return Err(("labels", format!("no endpoint of `{service}` has these labels")));
    }
    Ok(Whose::Service { service, labels, clusters: own })
}

fn makes_no_calls(service: &ServiceSpec) -> bool {
    service.versions.iter().all(|version| version.calls.is_empty())
}

fn is_mirrored(plans: &[&Plan], cluster: &str) -> bool {
    plans.iter().flat_map(|plan| &plan.profiles).any(|profile| profile.mirrors.iter().any(|mirror| mirror == cluster))
}
