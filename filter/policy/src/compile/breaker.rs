//! `ShuntPolicy.breaker` and `killSwitch`: which versions are watched, by what, and who stands in.

use crate::breaker::{BreakerRule, Failures, Switch};
use istio_config::delegates::Expanded;
use istio_config::diagnostic::{At, Diagnostics};
use istio_config::shunt_policy::attachment::{Holder, Part, RulePlace};
use istio_config::shunt_policy::{Breaker, KillSwitch, ShuntPolicy, VersionRef};
use istio_config::virtual_service::Destination;
use istio_config::{Config, GoDuration, Resource, names};
use std::collections::BTreeMap;

/// What holds for the rules of one policy.
#[derive(Clone, Debug)]
pub(super) struct Protection {
    /// `namespace/name`.
    pub(super) policy: Box<str>,
    pub(super) stable: VersionRef,
    pub(super) breaker: Option<BreakerRule>,
    pub(super) failures: Failures,
    pub(super) switch: Option<Switch>,
}

impl Protection {
    /// The policy's.
    pub(super) fn namespace(&self) -> &str {
        self.policy.split_once('/').map_or("default", |(namespace, _)| namespace)
    }
}

/// All policies, and by rule the place of the one that holds.
#[derive(Debug, Default)]
pub(super) struct Protections {
    pub(super) all: Vec<Protection>,
    pub(super) by_rule: BTreeMap<RulePlace, u32>,
}

/// Reads every policy; faults are reported.
pub(super) fn compile(config: &Config, expanded: &[Expanded<'_>], diagnostics: &mut Diagnostics) -> Protections {
    let mut protections = Protections::default();
    for holder in Holder::find(Part::Guard, config, expanded, diagnostics) {
        let Some(protection) = protection(holder.policy, diagnostics) else { continue };
        report_without_choice(&holder, &protection.stable, diagnostics);
        let place = u32::try_from(protections.all.len()).unwrap_or(u32::MAX);
        protections.all.push(protection);
        protections.by_rule.extend(holder.held.iter().map(|rule| (rule.place(), place)));
    }
    protections
}

/// A policy for rules that lead to one version alone has nobody to keep away from it.
fn report_without_choice(holder: &Holder<'_>, stable: &VersionRef, diagnostics: &mut Diagnostics) {
    let mut named = holder.named.iter().flat_map(|named| {
        let namespace = named.root.namespace();
        named.rule.route.iter().map(move |route| (namespace, &route.destination))
    });
    let full = |namespace: &str, to: &Destination| (names::full_host(&to.host, namespace), to.subset.clone());
    let is_stable = |(namespace, to): (&str, &Destination)| {
        let stands_in = stable.beside(to);
        let same_port = stands_in.port.is_none() || stands_in.port == to.port;
        full(namespace, &stands_in) == full(namespace, to) && same_port
    };
    if named.all(is_stable) {
        let object = At::object(&holder.policy.meta.reference);
        let message = "no rule here leads to another version than stable: nobody can go out";
        diagnostics.warning(&object.field("spec"), "no-choice", message, "name another version in stable");
    }
}

fn protection(policy: &Resource<ShuntPolicy>, diagnostics: &mut Diagnostics) -> Option<Protection> {
    let object = At::object(&policy.meta.reference);
    let at = object.field("spec");
    let ShuntPolicy { stable, breaker, kill_switch, .. } = &policy.spec;
    let Some(stable) = stable else {
        let help = "name the version that stands in: stable: {subset: NAME}";
        diagnostics.error(&at, "no-stable", "nothing says where requests go instead", help);
        return None;
    };
    let field = at.field("breaker");
    let rule = breaker.as_ref().map(|raw| rule(&field, raw, diagnostics));
    let failures = breaker.as_ref().map(|raw| failures(&field, raw, diagnostics)).unwrap_or_default();
    let switch = kill_switch.as_ref().map(|raw| switch(&at.field("killSwitch"), raw, diagnostics));
    Some(Protection { policy: policy.meta.full_name().into(), stable: stable.clone(), breaker: rule, failures, switch })
}

fn rule(at: &At<'_>, raw: &Breaker, diagnostics: &mut Diagnostics) -> BreakerRule {
    let Breaker {
        fail_on: _,
        slower_than: _,
        consecutive_failures,
        failure_percent,
        min_requests,
        window,
        open_for,
        max_open_for,
        probes,
        return_over,
        max_out_percent,
    } = raw;
    if consecutive_failures.unwrap_or_default() == 0 && failure_percent.is_none() {
        let help = "give it consecutiveFailures or failurePercent";
        diagnostics.error(at, "contradiction", "no number of failures is too many, so nothing ever goes out", help);
    }
    for (name, percent) in [("failurePercent", failure_percent), ("maxOutPercent", max_out_percent)] {
        if let Some(percent) = percent.filter(|percent| !(1..=100).contains(percent)) {
            let message = format!("{percent} is not between 1 and 100");
            diagnostics.error(&at.field(name), "bad-percentage", message, "write a whole number from 1 to 100");
        }
    }
    if *probes == Some(0) {
        let help = "write 1 or more, or leave it out";
        diagnostics.error(&at.field("probes"), "contradiction", "without probes nothing comes back", help);
    }
    if failure_percent.is_none() && (min_requests.is_some() || window.is_some()) {
        let message = "minRequests and window are about failurePercent, which is not there";
        diagnostics.warning(at, "no-effect", message, "add failurePercent, or remove them");
    }
    let mut ms = |name: &str, said: &Option<GoDuration>, default: u64| {
        let Some(GoDuration(duration)) = said else { return default };
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        // Workers look at what they know together ten times a second.
        if ms < 100 {
            let message = format!("{duration:?} is shorter than the 100 ms after which workers learn of each other");
            diagnostics.error(&at.field(name), "bad-duration", message, "write 100ms or more");
        }
        ms
    };
    let default = BreakerRule::UNSAID;
    let open_ms = ms("openFor", open_for, default.open_ms);
    let rule = BreakerRule {
        consecutive: consecutive_failures.unwrap_or(default.consecutive),
        percent: failure_percent.unwrap_or(default.percent),
        min_requests: min_requests.unwrap_or(default.min_requests),
        window_ms: ms("window", window, default.window_ms),
        open_ms,
        open_max_ms: ms("maxOpenFor", max_open_for, default.open_max_ms.max(open_ms)),
        probes: probes.unwrap_or(default.probes),
        return_ms: ms("returnOver", return_over, default.return_ms),
        out_percent_max: max_out_percent.unwrap_or(default.out_percent_max),
    };
    if rule.open_max_ms < rule.open_ms {
        let message = format!("{} ms are less than openFor, {} ms", rule.open_max_ms, rule.open_ms);
        diagnostics.error(&at.field("maxOpenFor"), "contradiction", message, "make it at least as long");
    }
    rule
}

fn failures(at: &At<'_>, raw: &Breaker, diagnostics: &mut Diagnostics) -> Failures {
    let slower_than_ms = raw.slower_than.map(|GoDuration(limit)| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
    if slower_than_ms == Some(0) {
        let help = "write 1ms or more, or leave it out";
        diagnostics.error(&at.field("slowerThan"), "bad-duration", "everything takes longer than that", help);
    }
    let mut statuses = Vec::new();
    let words = if raw.fail_on.is_empty() { "5xx" } else { &raw.fail_on };
    for word in words.split(',') {
        let range = match (word, word.parse::<u16>()) {
            ("4xx", _) => (400, 499),
            ("5xx", _) => (500, 599),
            ("gateway-error", _) => (502, 504),
            (_, Ok(status @ 200..=599)) => (status, status),
            _ => {
                let help = "write 4xx, 5xx, gateway-error or a status, with commas and no blanks in between";
                let message = format!("`{word}` is no kind of answer");
                diagnostics.error(&at.field("failOn"), "bad-value", message, help);
                continue;
            }
        };
        if range.0 < 400 {
            let message = format!("every answer of {word} counts as a failure");
            let help = "leave it out unless this service answers so when it fails";
            diagnostics.warning(&at.field("failOn"), "success-fails", message, help);
        }
        statuses.push(range);
    }
    Failures { statuses: statuses.into(), slower_than_ms }
}

fn switch(at: &At<'_>, raw: &KillSwitch, diagnostics: &mut Diagnostics) -> Switch {
    let KillSwitch { on, sha256 } = raw;
    if on.is_none() && sha256.is_none() {
        let help = "give it sha256, the digest of a secret, or on: true";
        diagnostics.error(at, "contradiction", "nobody can turn this switch", help);
    }
    if *on == Some(true) {
        let message = "the switch is on: every request goes to stable";
        diagnostics.note(&at.field("on"), "kill-switch-on", message, "remove it when the version is well again");
    }
    let digest = sha256.as_ref().and_then(|text| {
        let digest = digest(text);
        if digest.is_none() {
            let help = "write the 64 hexadecimal digits that `printf %s SECRET | sha256sum` prints";
            diagnostics.error(&at.field("sha256"), "bad-value", "this is no SHA-256", help);
        }
        digest
    });
    Switch { on: on.unwrap_or_default(), sha256: digest }
}

/// The bytes of a digest in hexadecimal digits.
fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16)
            .ok()
            .filter(|_| pair.iter().all(u8::is_ascii_hexdigit))?;
    }
    Some(digest)
}
