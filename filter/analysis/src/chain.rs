//! Retries that multiply: when services call each other, each hop repeats what the hop before it repeats.
//!
//! Rules do not say who calls whom, so without more there is only a note, and only where two or more hosts have retries
//! that would multiply. Told the chain ([`Chain`]), the product can be worked out, and is.
//!
//! A hop multiplies only when its retries cover what the next hop answers once it has given up, a 5xx: `5xx`,
//! `gateway-error`, or the codes 502, 503 and 504. Those of the mesh's default do not; they count at the last hop alone.

use crate::view::{Rule, View};
use envoy_plan::RetryPolicy;
use istio_config::{Diagnostics, names};
use std::collections::{BTreeMap, BTreeSet};

/// From so many tries at the last host on, a chain is a warning.
const TRIES_MAX: u32 = 10;

/// Hosts that call each other, from the first that is called to the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    hosts: Vec<String>,
}

impl Chain {
    /// Reads `a,b,c`; names without a dot belong to `namespace`, and `a.b` is also a service of another one
    /// ([`Chain::resolve`]). `None` with fewer than two hosts.
    pub fn parse(text: &str, namespace: &str) -> Option<Self> {
        let hosts: Vec<String> = text
            .split(',')
            .map(str::trim)
            .filter(|host| !host.is_empty())
            .map(|host| names::full_host(host, namespace))
            .collect();
        (hosts.len() > 1).then_some(Self { hosts })
    }

    /// Lets each host be one that the configuration knows, as a service or as a destination: `a.default` is
    /// `a.default.svc.cluster.local`.
    ///
    /// # Errors
    /// The first host that nobody knows.
    pub fn resolve(mut self, view: &View<'_>) -> Result<Self, String> {
        let of_services = view.services.iter().map(|(host, _)| host.to_owned());
        let of_rules =
            view.rules().flat_map(|rule| rule.raw.route.iter().map(move |to| rule.full_host(&to.destination)));
        let known: BTreeSet<String> = of_services.chain(of_rules).collect();
        for host in &mut self.hosts {
            let spelt = [
                host.clone(),
                format!("{host}.svc.{}", names::CLUSTER_DOMAIN),
                format!("{host}.{}", names::CLUSTER_DOMAIN),
            ];
            match spelt.into_iter().find(|spelt| known.contains(spelt)) {
                Some(full) => *host = full,
                None => return Err(std::mem::take(host)),
            }
        }
        Ok(self)
    }

    /// Works out how many requests the last host may get for one, and reports it at the rule that retries most there.
    pub fn analyse(&self, view: &View<'_>, diagnostics: &mut Diagnostics) {
        let Some((last, before)) = self.hosts.split_last() else { return };
        let mut product = RetryPolicy::mesh_default().retries.saturating_add(1);
        let worst_at_last = worst(view, last, &|rule| tries(rule, false));
        if let Some((tries, _)) = worst_at_last {
            product = tries;
        }
        let mut factors = Vec::new();
        for host in before {
            let (tries, _) = worst(view, host, &|rule| tries(rule, true)).unwrap_or((1, None));
            factors.push(format!("{tries} for {host}"));
            product = product.saturating_mul(tries);
        }
        let of_last = worst_at_last.map_or(product, |(tries, _)| tries);
        factors.push(format!("{of_last} for {last}"));
        let place = self.hosts.iter().rev().find_map(|host| worst(view, host, &|rule| tries(rule, false))?.1);
        let Some(rule) = place else { return };
        let message = format!("one request can become {product} at `{last}`: {}", factors.join(" × "));
        let help = "retry at one hop only, best at the one nearest to the failure; elsewhere `attempts: 0`";
        rule.at(|at| {
            let at = at.field("retries");
            if product >= TRIES_MAX {
                diagnostics.warning(&at, "retries-multiply", message, help);
            } else {
                diagnostics.note(&at, "retries-multiply", message, help);
            }
        });
    }
}

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    let mut by_host: BTreeMap<String, (u32, Rule<'_>)> = BTreeMap::new();
    for rule in view.rules() {
        let tries = tries(rule, true);
        for (_, destination, _) in rule.drawn().filter(|_| tries > 1) {
            let known = by_host.entry(rule.full_host(destination)).or_insert((tries, rule));
            if known.0 < tries {
                *known = (tries, rule);
            }
        }
    }
    if by_host.len() < 2 {
        return;
    }
    let product = by_host.values().fold(1_u32, |product, (tries, _)| product.saturating_mul(*tries));
    let list: Vec<String> = by_host.iter().map(|(host, (tries, _))| format!("{tries} for {host}")).collect();
    if let Some((_, rule)) = by_host.values().next() {
        let message = format!(
            "if these hosts call each other, one request can become {product} at the last: {}",
            list.join(" × ")
        );
        let help = "`--chain HOST,HOST` works it out for a chain that you know; retry at one hop only";
        rule.at(|at| diagnostics.note(&at.field("retries"), "retries-multiply", message, help));
    }
}

/// The rule that tries most often to reach `host`, with its number of tries. A host that no rule leads to has the mesh's
/// default, which multiplies nothing.
fn worst<'v>(view: &'v View<'_>, host: &str, tries: &dyn Fn(Rule<'v>) -> u32) -> Option<(u32, Option<Rule<'v>>)> {
    let leading = view.rules().filter(|rule| rule.drawn().any(|(_, to, _)| rule.full_host(to) == host));
    let counted = leading.map(|rule| (tries(rule), rule));
    counted.max_by_key(|(tries, _)| *tries).map(|(tries, rule)| (tries, Some(rule)))
}

/// Tries of one request by this rule: all, or only those that an answer of 5xx may cause.
fn tries(rule: Rule<'_>, of_answers: bool) -> u32 {
    let default = RetryPolicy::mesh_default().retries;
    let Some(retries) = rule.raw.retries.as_deref() else {
        return if of_answers { 1 } else { default.saturating_add(1) };
    };
    let covers =
        retries.retry_on.split(',').any(|condition| ["5xx", "gateway-error", "502", "503", "504"].contains(&condition));
    let attempts = u32::try_from(retries.attempts.unwrap_or(0)).unwrap_or(0);
    if covers || !of_answers { attempts.saturating_add(1) } else { 1 }
}
