//! What a request meets on one side, and in what two sides differ for it.
//!
//! Compared is what a client, a version or a mirror would notice. By which rule it happens is told, and is no difference:
//! rules in another order that do the same change nothing.

use super::Side;
use super::ends::End;
use envoy_plan::{Profile, RetryPolicy};
use std::collections::{BTreeMap, BTreeSet};
use traffic_policy::explain::{ActionName, DestinationShare, Explanation, Reply, ToldEdit};
use traffic_policy::{Choice, RequestHead};

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
    /// Cluster, or `answer STATUS`; a cluster of one name on both sides with the labels of its endpoints.
    pub from: String,
    /// Cluster, or `answer STATUS`.
    pub to: String,
    /// From 0 to 1.
    pub share: f64,
}

/// Something else that is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// `path`, `authority`, `requestHeaders`, `responseHeaders`, `reply`, `body`, `delay`, `abort`, `versions`, `mirrors`, `timeout`, `retries`,
    /// `balancing`, `connectTimeout`, `limits`, `connections`, `outlierDetection`, `protocol`.
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

/// The share of requests that a mirror gets, and where they end.
type Copied = (String, End);

/// What a profile carries out, by its names in [`Detail`].
type Carried = [(&'static str, String); 4];

/// What a request meets on one side.
pub(crate) struct Outcome<'p> {
    said: Explanation<'p>,
    title: RuleTitle,
    /// Path and query as the destination gets them.
    target: String,
    /// Body of a direct response, as it was written.
    body: &'p str,
    /// Copies, each with its share.
    mirrors: Vec<Copied>,
    /// What else the plan carries out: timeout, retries, hash keys.
    carried: Carried,
    side: &'p Side<'p>,
}

impl<'p> Outcome<'p> {
    pub(crate) fn new(said: Explanation<'p>, request: &RequestHead<'_>, side: &'p Side<'p>) -> Self {
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
        let (mirrors, carried) = carried(&said, side);
        Self { said, title, target, body, mirrors, carried, side }
    }

    /// Where it ends, with probabilities that sum to 1, by the ends' keys.
    fn ends(&self) -> BTreeMap<String, (End, f64)> {
        let mut ends: BTreeMap<String, (End, f64)> = BTreeMap::new();
        let mut add = |end: End, share: f64| ends.entry(end.key.clone()).or_insert((end, 0.0)).1 += share;
        let rest = self.said.let_through();
        if let Some(abort) = self.said.abort {
            add(End::answer(aborted(abort.http_status, abort.grpc_status)), abort.probability);
        }
        match &self.said.reply {
            Some(reply) => add(End::answer(format!("answer {}", reply.status)), rest),
            None => {
                let drawn = self.said.destinations.iter();
                drawn.for_each(|to| add(self.side.ends.of(&to.cluster), rest * to.probability));
            }
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

/// Mirrors, and timeout and retries in words: what stands in the profile of a request that draws every mirror it can.
fn carried(said: &Explanation<'_>, side: &Side<'_>) -> (Vec<Copied>, Carried) {
    let drawn = said.mirrors.iter().enumerate().filter(|(_, share)| **share > 0.0);
    let all = drawn
        .clone()
        .fold(0_usize, |all, (bit, _)| all | 1_usize.checked_shl(bit.try_into().unwrap_or(64)).unwrap_or(0));
    let profile = side.profile(said.profiles.get(all).map_or("", |name| name));
    let Some(Profile { name: _, timeout, retry, mirrors, hash_keys, falls_back: _ }) = profile else {
        return Default::default();
    };
    let shares = drawn.map(|(_, share)| percent(*share));
    let mirrors = shares.zip(mirrors).map(|(share, cluster)| (share, side.ends.of(cluster))).collect();
    let timeout = timeout.map_or_else(|| "none".to_owned(), |limit| format!("{limit:?}"));
    let keys: Vec<_> = hash_keys.iter().map(ToString::to_string).collect();
    let keys = if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
    let fallback = ("fallback", fallback_text(said, all, side));
    (mirrors, [("timeout", timeout), ("retries", retries_text(retry.as_ref())), fallback, ("hashKeys", keys)])
}

/// Whom else the request may be asked of, how often and on what.
fn fallback_text(said: &Explanation<'_>, drawn: usize, side: &Side<'_>) -> String {
    let both = said.destinations.iter().filter_map(|to| side.plan.fallbacks.get(to.fallback.as_deref()?));
    let others: BTreeSet<_> = both.map(|both| side.ends.of(&both.then).in_full()).collect();
    let retry = said.fallback_profiles.get(drawn).and_then(|name| side.profile(name)).and_then(|it| it.retry.as_ref());
    match retry.filter(|_| !others.is_empty()) {
        Some(retry) => {
            let others: Vec<_> = others.into_iter().collect();
            format!("{}, {}", others.join(" or "), retries_text(Some(retry)))
        }
        None => "none".to_owned(),
    }
}

/// `default`, `none`, or what is other than in the default.
fn retries_text(policy: Option<&RetryPolicy>) -> String {
    let default = RetryPolicy::mesh_default();
    let Some(policy) = policy else { return "none".to_owned() };
    if *policy == default {
        return "default".to_owned();
    }
    let RetryPolicy {
        retries,
        on,
        status_codes,
        per_try_timeout,
        avoid_previous_hosts,
        backoff,
        host_selection_attempts: _,
    } = policy;
    let mut words = vec![format!("{retries} attempts")];
    words.extend(per_try_timeout.map(|limit| format!("per try {limit:?}")));
    if *backoff != default.backoff {
        words.push(format!("back-off {:?}", backoff.base));
    }
    if (on, status_codes) != (&default.on, &default.status_codes) {
        let names = on.iter().map(|condition| condition.name().to_owned());
        let names: Vec<_> = names.chain(status_codes.iter().map(u16::to_string)).collect();
        words.push(format!("on {}", names.join(",")));
    }
    if *avoid_previous_hosts != default.avoid_previous_hosts {
        words.push("also at hosts already tried".to_owned());
    }
    words.join(", ")
}

/// Mirrors in words. `in_full`: with the versions behind them.
fn mirrors_text(mirrors: &[Copied], in_full: bool) -> String {
    let texts = mirrors.iter().map(|(share, end)| match &end.nobody_at {
        Some(cluster) => format!("{share} to {}, where nobody answers", version(cluster)),
        None => format!("{share} to {}", version(&if in_full { end.in_full() } else { end.told.clone() })),
    });
    if mirrors.is_empty() { "none".to_owned() } else { texts.collect::<Vec<_>>().join(", ") }
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
        let (before, after) = (by_end(old), by_end(new));
        for (end, before) in before {
            let Some(after) = after.get(&end) else { continue };
            for (what, told) in EDITS {
                detail(what, shares_text(&before, told), shares_text(after, told));
            }
            // One cluster on each side: else nobody could say whose policy it is.
            if let ([(_, one)], [(_, other)]) = (before.as_slice(), after.as_slice()) {
                let policies = old.side.ends.policy(&one.cluster).iter().zip(new.side.ends.policy(&other.cluster));
                policies.for_each(|((what, before), (_, after))| detail(what, before.clone(), after.clone()));
            }
        }
        detail("versions", choice_text(old.said.choice).to_owned(), choice_text(new.said.choice).to_owned());
        let keys = |outcome: &Outcome<'_>| -> Vec<(String, String)> {
            outcome.mirrors.iter().map(|(share, end)| (share.clone(), end.key.clone())).collect()
        };
        if keys(old) != keys(new) {
            let in_full = mirrors_text(&old.mirrors, false) == mirrors_text(&new.mirrors, false);
            detail("mirrors", mirrors_text(&old.mirrors, in_full), mirrors_text(&new.mirrors, in_full));
        }
        for ((what, before), (_, after)) in old.carried.iter().zip(&new.carried) {
            detail(what, before.clone(), after.clone());
        }
    }
    // Several ends may differ in the same way.
    let mut told: Vec<Detail> = Vec::new();
    details.retain(|detail| {
        let is_new = !told.contains(detail);
        told.extend(is_new.then(|| detail.clone()));
        is_new
    });
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

/// Destinations that requests may meet, by where they end, each with its share of the requests that end there.
fn by_end<'e>(outcome: &'e Outcome<'_>) -> BTreeMap<String, Vec<(f64, &'e DestinationShare<'e>)>> {
    let mut ends: BTreeMap<String, Vec<(f64, &DestinationShare<'_>)>> = BTreeMap::new();
    for to in outcome.said.destinations.iter().filter(|to| to.probability > 0.0) {
        ends.entry(outcome.side.ends.of(&to.cluster).key).or_default().push((to.probability, to));
    }
    for list in ends.values_mut() {
        let total: f64 = list.iter().map(|(share, _)| share).sum();
        list.iter_mut().for_each(|(share, _)| *share /= total);
    }
    ends
}

/// What destinations of one end do; with shares, where they do not all do the same.
fn shares_text(list: &[(f64, &DestinationShare<'_>)], told: Told) -> String {
    let mut texts: BTreeMap<String, f64> = BTreeMap::new();
    list.iter().for_each(|(share, to)| *texts.entry(told(to)).or_default() += share);
    let several = texts.len() > 1;
    let one = |(text, share): (String, f64)| if several { format!("{} {text}", percent(share)) } else { text };
    let mut texts: Vec<_> = texts.into_iter().map(one).collect();
    texts.sort();
    texts.join(" | ")
}

fn edits_text(edits: &[ToldEdit<'_>]) -> String {
    let text = |edit: &ToldEdit<'_>| match edit {
        ToldEdit::Set(name, value) => format!("set {name}: {value}"),
        ToldEdit::Add(name, value) => format!("add {name}: {value}"),
        ToldEdit::Remove(name) => format!("remove {name}"),
    };
    if edits.is_empty() { "none".to_owned() } else { edits.iter().map(text).collect::<Vec<_>>().join("; ") }
}

/// How the version of such a request comes about.
fn choice_text(choice: Option<Choice>) -> &'static str {
    match choice {
        None | Some(Choice::ByWeight) => "drawn for each request",
        Some(Choice::ByKey) => "by the user's key",
        Some(Choice::ByNewCookie) => "by a new cookie, with which the user stays",
        Some(Choice::ByOverride) => "named by the request",
    }
}

fn reply_text(said: &Explanation<'_>) -> String {
    let Some(Reply { status, headers, body_bytes }) = &said.reply else { return "none".to_owned() };
    let headers: String = headers.iter().map(|(name, value)| format!(", {name}: {value}")).collect();
    // What a host says for want of a rule is known.
    let body = if *body_bytes > 0 && said.rule.is_some() { format!(", {body_bytes} bytes") } else { String::new() };
    format!("{status}{headers}{body}")
}

/// The total variation distance, and what goes where: what one end loses, another gains, in order.
fn moves(old: &BTreeMap<String, (End, f64)>, new: &BTreeMap<String, (End, f64)>) -> (f64, Vec<Move>) {
    let share =
        |ends: &BTreeMap<String, (End, f64)>, key: &str| ends.get(key).map(|(_, share)| *share).unwrap_or_default();
    let losses = old.iter().map(|(key, (end, before))| (end, before - share(new, key)));
    let losses = losses.filter(|(_, lost)| *lost > SAME);
    let gains = new.iter().map(|(key, (end, after))| (end, after - share(old, key)));
    let mut gains: Vec<_> = gains.filter(|(_, gained)| *gained > SAME).collect();
    let (mut total, mut moves) = (0.0, Vec::new());
    for (from, mut lost) in losses {
        total += lost;
        for (to, gained) in &mut gains {
            let share = lost.min(*gained);
            if share > SAME {
                let told = |end: &End| match (&from.nobody_at, &to.nobody_at, &end.nobody_at) {
                    // Neither side's files say who answers: that is no news.
                    (Some(_), Some(_), Some(cluster)) => cluster.clone(),
                    // A subset that kept its name is told with its labels.
                    _ if from.told == to.told => end.in_full(),
                    _ => end.told.clone(),
                };
                moves.push(Move { from: told(from), to: told(to), share });
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
    let (name, labels) =
        end.split_once(" (").map_or((end, String::new()), |(name, labels)| (name, format!(" ({labels}")));
    let parts: Vec<&str> = name.split('|').collect();
    match parts[..] {
        ["outbound", port, "", host] => format!("{host}:{port}{labels}"),
        ["outbound", port, subset, host] => format!("{subset} of {host}:{port}{labels}"),
        _ => end.to_owned(),
    }
}
