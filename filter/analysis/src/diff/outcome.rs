//! What a request meets on one side, and in what two sides differ for it.
//!
//! Compared is what a client, a version or a mirror would notice. By which rule it happens is told, and is no difference:
//! rules in another order that do the same change nothing.

use super::Side;
use crate::view::Rule;
use istio_config::names;
use std::collections::BTreeMap;
use traffic_policy::RequestHead;
use traffic_policy::explain::{ActionName, DestinationShare, Explanation, Reply, ToldEdit};

/// Shares that are closer than this are the same: weights are whole numbers, so real differences are larger.
const SAME: f64 = 1e-9;

/// A rule as it is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleTitle {
    /// `namespace/name` of the VirtualService, or the host of a service without rules; empty where no rule decides.
    pub owner: String,
    /// Index in `spec.http`, once delegates are written out.
    pub http: Option<u32>,
    /// The rule's name, if it has one.
    pub name: String,
    /// What is said in place of a rule, where none decides.
    pub instead: &'static str,
}

/// A share of the requests that goes elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// Cluster, or `answer STATUS`.
    pub from: String,
    /// Cluster, or `answer STATUS`.
    pub to: String,
    /// From 0 to 1.
    pub share: f64,
}

/// Something else that is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// `path`, `authority`, `requestHeaders`, `responseHeaders`, `reply`, `body`, `delay`, `abort`, `mirrors`, `timeout`, `retries`.
    pub what: &'static str,
    /// How it was.
    pub old: String,
    /// How it is.
    pub new: String,
}

/// In what two sides differ for one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The rule that decided.
    pub old: RuleTitle,
    /// The rule that decides.
    pub new: RuleTitle,
    /// Total variation distance of where it goes: at least this share of such requests goes elsewhere.
    pub share: f64,
    /// Between which versions.
    pub moves: Vec<Move>,
    /// What else.
    pub details: Vec<Detail>,
}

/// What a request meets on one side.
pub(crate) struct Outcome<'p> {
    said: Explanation<'p>,
    title: RuleTitle,
    /// Path and query as the destination gets them.
    target: String,
    /// Body of a direct response, as it was written.
    body: &'p str,
    /// What the plan carries out: mirrors, timeout, retries.
    carried: [(&'static str, String); 3],
}

impl<'p> Outcome<'p> {
    pub(crate) fn new(said: Explanation<'p>, request: &RequestHead<'_>, side: &'p Side<'_>) -> Self {
        let sent = || request.values(b":path").next().unwrap_or_default();
        let target = said.rewritten.as_deref().map(str::to_owned);
        let target = target.unwrap_or_else(|| String::from_utf8_lossy(sent()).into_owned());
        let instead = match (&said.rule, said.action) {
            (Some(_), _) => "",
            (None, ActionName::UnknownHost) => "unknown host",
            (None, ActionName::Pass) => "left to Istio's routes",
            (None, ActionName::HttpsRedirect) => "redirect to https",
            (None, _) => "no rule matches",
        };
        let raw = said.rule.as_ref().and_then(|rule| side.rule(&rule.owner, rule.http?));
        let name = raw.map(|rule| rule.raw.name.clone()).unwrap_or_default();
        let owner = said.rule.as_ref().map(|rule| rule.owner.to_string()).unwrap_or_default();
        let title = RuleTitle { owner, http: said.rule.as_ref().and_then(|rule| rule.http), name, instead };
        let body = raw.and_then(|rule| rule.raw.direct_response.as_ref()?.body.as_ref());
        let body = body.and_then(|body| body.string.as_deref().or(body.bytes.as_deref())).unwrap_or_default();
        let carried = carried(&said, raw, side);
        Self { said, title, target, body, carried }
    }

    /// Where it ends, with probabilities that sum to 1.
    fn ends(&self) -> BTreeMap<String, f64> {
        let mut ends: BTreeMap<String, f64> = BTreeMap::new();
        let mut add = |end: String, share: f64| *ends.entry(end).or_default() += share;
        let mut rest = 1.0;
        if let Some(abort) = self.said.abort {
            rest -= abort.probability;
            add(aborted(abort.http_status, abort.grpc_status), abort.probability);
        }
        match &self.said.reply {
            Some(reply) => add(format!("answer {}", reply.status), rest),
            None => self.said.destinations.iter().for_each(|to| add(to.cluster.to_string(), rest * to.probability)),
        }
        ends
    }

    fn is_forwarded(&self) -> bool {
        self.said.action == ActionName::Forward
    }
}

fn aborted(http: Option<u16>, grpc: Option<u16>) -> String {
    match (http, grpc) {
        (Some(status), _) => format!("answer {status}"),
        (None, status) => format!("answer gRPC status {}", status.unwrap_or_default()),
    }
}

fn carried(said: &Explanation<'_>, rule: Option<Rule<'_>>, side: &Side<'_>) -> [(&'static str, String); 3] {
    let (mut mirrors, mut timeout, mut retries) = (Vec::new(), "none".to_owned(), "default".to_owned());
    if let Some(rule) = rule {
        let raw = rule.raw;
        let clusters: Vec<_> = rule
            .mirrored()
            .into_iter()
            .map(|(_, to)| {
                let host = rule.full_host(to);
                names::cluster_name(side.view.services.port_for(to, &host, 80).number(), &to.subset, &host)
            })
            .collect();
        let shares = said.mirrors.iter().filter(|share| **share > 0.0).map(|share| percent(*share));
        mirrors =
            clusters.iter().zip(shares).map(|(cluster, share)| format!("{share} to {}", version(cluster))).collect();
        if let Some(limit) = raw.timeout.filter(|limit| !limit.0.is_zero()) {
            timeout = format!("{:?}", limit.0);
        }
        if let Some(policy) = &raw.retries {
            let mut words =
                vec![format!("{} attempts", policy.attempts.map_or("default".to_owned(), |n| n.to_string()))];
            let durations = [("per try", policy.per_try_timeout), ("back-off", policy.backoff)];
            words.extend(durations.into_iter().filter_map(|(word, limit)| Some(format!("{word} {:?}", limit?.0))));
            words.extend(Some(format!("on {}", policy.retry_on)).filter(|_| !policy.retry_on.is_empty()));
            let flags = [
                ("remote localities", policy.retry_remote_localities),
                ("ignore previous hosts", policy.retry_ignore_previous_hosts),
            ];
            words.extend(flags.into_iter().filter_map(|(word, flag)| Some(format!("{word} {}", flag?))));
            retries = words.join(", ");
        }
    }
    let mirrors = if mirrors.is_empty() { "none".to_owned() } else { mirrors.join(", ") };
    [("mirrors", mirrors), ("timeout", timeout), ("retries", retries)]
}

/// In what two outcomes differ; `None` for the same.
pub(crate) fn difference(old: &Outcome<'_>, new: &Outcome<'_>) -> Option<Difference> {
    let (share, moves) = moves(&old.ends(), &new.ends());
    let mut details = Vec::new();
    let mut detail = |what: &'static str, old: String, new: String| {
        if old != new {
            details.push(Detail { what, old, new });
        }
    };
    let faults = |outcome: &Outcome<'_>| {
        let Explanation { delay, abort, .. } = &outcome.said;
        let delay = delay.filter(|delay| delay.probability > 0.0);
        let abort = abort.filter(|abort| abort.probability > 0.0);
        let delay = delay.map(|delay| format!("{} wait {} ms", percent(delay.probability), delay.delay_ms));
        let abort = abort.map(|abort| {
            let end = aborted(abort.http_status, abort.grpc_status);
            format!("{} {end}", percent(abort.probability))
        });
        [delay, abort].map(|fault| fault.unwrap_or_else(|| "none".to_owned()))
    };
    let ([old_delay, old_abort], [new_delay, new_abort]) = (faults(old), faults(new));
    detail("delay", old_delay, new_delay);
    detail("abort", old_abort, new_abort);
    let (old_reply, new_reply) = (reply_text(&old.said), reply_text(&new.said));
    // A bare status that comes or goes is told by the move.
    let is_bare = |one: &str, other: &str| one == "none" && other.parse::<u16>().is_ok();
    if !is_bare(&old_reply, &new_reply) && !is_bare(&new_reply, &old_reply) {
        detail("reply", old_reply, new_reply);
    }
    if [old, new].iter().all(|outcome| outcome.said.action == ActionName::DirectResponse) {
        detail("body", old.body.to_owned(), new.body.to_owned());
    }
    // What is edited for a version that only one side knows is told by the move to it.
    if old.is_forwarded() && new.is_forwarded() {
        detail("path", old.target.clone(), new.target.clone());
        let (before, after) = (by_cluster(&old.said), by_cluster(&new.said));
        for (cluster, before) in before {
            let Some(after) = after.get(&cluster) else { continue };
            for (what, told) in EDITS {
                let told = |list: &[(f64, &DestinationShare<'_>)]| {
                    // Shares matter only where one version is named more than once.
                    let one = |(share, to): &(f64, &DestinationShare<'_>)| {
                        if list.len() > 1 { format!("{} {}", percent(*share), told(to)) } else { told(to) }
                    };
                    let mut texts: Vec<_> = list.iter().map(one).collect();
                    texts.sort();
                    texts.join(" | ")
                };
                detail(what, told(&before), told(after));
            }
        }
        for ((what, before), (_, after)) in old.carried.iter().zip(&new.carried) {
            detail(what, before.clone(), after.clone());
        }
    }
    details.dedup();
    let is_same = share < SAME && details.is_empty();
    (!is_same).then(|| Difference { old: old.title.clone(), new: new.title.clone(), share, moves, details })
}

type Told = fn(&DestinationShare<'_>) -> String;

/// What a destination does to a message.
const EDITS: [(&str, Told); 3] = [
    ("authority", |to| to.authority.as_deref().unwrap_or("as it came").to_owned()),
    ("requestHeaders", |to| edits_text(&to.request_edits)),
    ("responseHeaders", |to| edits_text(&to.response_edits)),
];

/// Destinations by cluster, each with its share of that cluster's requests.
fn by_cluster<'e>(said: &'e Explanation<'_>) -> BTreeMap<String, Vec<(f64, &'e DestinationShare<'e>)>> {
    let mut clusters: BTreeMap<String, Vec<(f64, &DestinationShare<'_>)>> = BTreeMap::new();
    for to in said.destinations.iter().filter(|to| to.probability > 0.0) {
        clusters.entry(to.cluster.to_string()).or_default().push((to.probability, to));
    }
    for list in clusters.values_mut() {
        let total: f64 = list.iter().map(|(share, _)| share).sum();
        list.iter_mut().for_each(|(share, _)| *share /= total);
    }
    clusters
}

fn edits_text(edits: &[ToldEdit<'_>]) -> String {
    let text = |edit: &ToldEdit<'_>| match edit {
        ToldEdit::Set(name, value) => format!("set {name}: {value}"),
        ToldEdit::Add(name, value) => format!("add {name}: {value}"),
        ToldEdit::Remove(name) => format!("remove {name}"),
    };
    if edits.is_empty() { "none".to_owned() } else { edits.iter().map(text).collect::<Vec<_>>().join("; ") }
}

fn reply_text(said: &Explanation<'_>) -> String {
    let Some(Reply { status, headers, body_bytes }) = &said.reply else { return "none".to_owned() };
    let headers: String = headers.iter().map(|(name, value)| format!(", {name}: {value}")).collect();
    // What a host says for want of a rule is known.
    let body = if *body_bytes > 0 && said.rule.is_some() { format!(", {body_bytes} bytes") } else { String::new() };
    format!("{status}{headers}{body}")
}

/// The total variation distance, and what goes where: what one end loses, another gains, in order.
fn moves(old: &BTreeMap<String, f64>, new: &BTreeMap<String, f64>) -> (f64, Vec<Move>) {
    let share = |ends: &BTreeMap<String, f64>, end: &str| ends.get(end).copied().unwrap_or_default();
    let losses = old.iter().map(|(end, before)| (end, before - share(new, end))).filter(|(_, lost)| *lost > SAME);
    let mut gains: Vec<_> =
        new.iter().map(|(end, after)| (end, after - share(old, end))).filter(|(_, gained)| *gained > SAME).collect();
    let (mut total, mut moves) = (0.0, Vec::new());
    for (from, mut lost) in losses {
        total += lost;
        for (to, gained) in &mut gains {
            let share = lost.min(*gained);
            if share > SAME {
                moves.push(Move { from: from.clone(), to: (*to).clone(), share });
                lost -= share;
                *gained -= share;
            }
        }
    }
    (total, moves)
}

/// `25 %`, with at most four decimal places.
pub(crate) fn percent(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A cluster by its name for people: `v1 of reviews.default.svc.cluster.local:9080`; anything else as it is.
pub(crate) fn version(end: &str) -> String {
    let parts: Vec<&str> = end.split('|').collect();
    match parts[..] {
        ["outbound", port, "", host] => format!("{host}:{port}"),
        ["outbound", port, subset, host] => format!("{subset} of {host}:{port}"),
        _ => end.to_owned(),
    }
}
