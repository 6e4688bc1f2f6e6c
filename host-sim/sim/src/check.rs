//! Watches a run from outside: it keeps its own books of what was asked, sent and given, and says where they do not
//! agree. None of it looks into the filter or the engine.

use std::collections::BTreeMap;

use envoy_plan::{PROFILE_HEADER, Plan};
use host_abi::HeaderMap;

use crate::engine::{Cause, Role};

/// What no upstream may see.
const INTERNAL: [&[u8]; 2] = [b"x-shunt-", b"x-envoy-fault-"];

/// Violations that are told; more are counted.
const TOLD_MAX: usize = 20;

/// Attempts a request may have where its policy cannot be known (the filter has not spoken).
const UNKNOWN: u32 = 0;

/// The books.
#[derive(Debug, Default)]
pub(crate) struct Check {
    open: BTreeMap<Cause, Account>,
    told: Vec<String>,
    untold: u64,
}

/// What is known of one open request.
#[derive(Debug)]
struct Account {
    /// 1 + retries.
    attempts_max: u32,
    attempts: u32,
    /// The last attempt for the client; only this one may answer.
    latest: Option<u64>,
}

impl Check {
    /// A client or a service sends a request.
    pub(crate) fn begun(&mut self, request: Cause) {
        let account = Account { attempts_max: UNKNOWN, attempts: 0, latest: None };
        if self.open.insert(request, account).is_some() {
            self.violated(format_args!("{request}: begun twice"));
        }
    }

    /// The filter lets a request go, with this head.
    pub(crate) fn forwarded(&mut self, request: Cause, head: &HeaderMap, plan: &Plan) {
        let profile = match head.get(PROFILE_HEADER) {
            Some(name) => plan.profiles.iter().find(|profile| profile.name.as_bytes() == name),
            None => plan.profiles.first(),
        };
        // Envoy retries once where conditions come without a number.
        let policy = profile.and_then(|profile| profile.retry.as_ref()).map_or(1, |retry| retry.retries);
        let asked = head.get_str("x-envoy-max-retries").and_then(|number| number.trim().parse::<u32>().ok());
        if let Some(account) = self.open.get_mut(&request) {
            account.attempts_max = asked.unwrap_or(policy).saturating_add(1);
        }
    }

    /// An upstream gets something.
    pub(crate) fn sent(&mut self, request: Cause, serial: u64, role: Role, head: &HeaderMap) {
        if role == Role::Callout {
            return;
        }
        for (name, _) in head.iter() {
            if name.starts_with(b"x-") && INTERNAL.iter().any(|prefix| name.starts_with(prefix)) {
                let name = String::from_utf8_lossy(name);
                self.violated(format_args!("{request}: the header {name} reached an upstream"));
            }
        }
        if role == Role::Shadow {
            return;
        }
        let Some(account) = self.open.get_mut(&request) else {
            return self.violated(format_args!("{request}: attempted after its end"));
        };
        account.attempts += 1;
        account.latest = Some(serial);
        let (attempts, max) = (account.attempts, account.attempts_max);
        if attempts > max {
            self.violated(format_args!("{request}: attempt {attempts}, but at most {max} are allowed"));
        }
    }

    /// Whoever sent it has its end. `origin` is the attempt whose answer it gets; `None` where no upstream answered.
    pub(crate) fn given(&mut self, request: Cause, origin: Option<u64>) {
        let Some(account) = self.open.remove(&request) else {
            return self.violated(format_args!("{request}: answered twice, or never asked"));
        };
        if origin.is_some() && origin != account.latest {
            self.violated(format_args!("{request}: answered by a mirror or by an attempt given up"));
        }
    }

    /// Something else that must not be.
    pub(crate) fn violated(&mut self, what: std::fmt::Arguments<'_>) {
        if self.told.len() < TOLD_MAX {
            self.told.push(what.to_string());
        } else {
            self.untold += 1;
        }
    }

    /// The run is over: every request must be.
    pub(crate) fn finish(&mut self) -> Vec<String> {
        for request in std::mem::take(&mut self.open).into_keys() {
            self.violated(format_args!("{request}: never answered"));
        }
        if self.untold > 0 {
            self.told.push(format!("and {} more", std::mem::take(&mut self.untold)));
        }
        std::mem::take(&mut self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_plan::{Profile, RetryPolicy};
    use std::time::Duration;

    const ONE: Cause = Cause::of_client(1);

    /// A plan whose default profile allows this many retries.
    fn plan(retries: u32) -> Plan {
        let retry = RetryPolicy {
            retries,
            on: Vec::new(),
            status_codes: Vec::new(),
            per_try_timeout: None,
            avoid_previous_hosts: false,
            host_selection_attempts: 0,
            backoff: envoy_plan::Backoff::from_base(Duration::from_millis(25)),
        };
        let profile = Profile { name: "default".to_owned(), retry: Some(retry), ..Profile::default() };
        Plan { profiles: vec![profile], ..Plan::default() }
    }

    #[track_caller]
    fn check(expected: &str, story: impl FnOnce(&mut Check)) {
        let mut check = Check::default();
        check.begun(ONE);
        check.forwarded(ONE, &HeaderMap::new(), &plan(1));
        story(&mut check);
        assert_eq!(check.finish().join("; "), expected);
    }

    #[test]
    fn a_sound_run_has_nothing_to_say() {
        check("", |check| {
            check.sent(ONE, 10, Role::Primary, &HeaderMap::from([("x-request-id", "1")]));
            check.sent(ONE, 11, Role::Shadow, &HeaderMap::new());
            check.sent(ONE, 12, Role::Primary, &HeaderMap::new());
            check.given(ONE, Some(12));
        });
    }

    #[test]
    fn every_planted_violation_is_caught() {
        check("request 1: never answered", |_| {});
        check("request 1: answered twice, or never asked", |check| {
            check.given(ONE, None);
            check.given(ONE, None);
        });
        check("request 1: attempt 3, but at most 2 are allowed", |check| {
            (10..13).for_each(|serial| check.sent(ONE, serial, Role::Primary, &HeaderMap::new()));
            check.given(ONE, Some(12));
        });
        check("request 1: answered by a mirror or by an attempt given up", |check| {
            check.sent(ONE, 10, Role::Primary, &HeaderMap::new());
            check.sent(ONE, 11, Role::Shadow, &HeaderMap::new());
            check.given(ONE, Some(11));
        });
        check("request 1: the header x-shunt-cluster reached an upstream", |check| {
            check.sent(ONE, 10, Role::Primary, &HeaderMap::from([("x-shunt-cluster", "c")]));
            check.given(ONE, Some(10));
        });
        check("request 1: the header x-envoy-fault-delay reached an upstream", |check| {
            check.sent(ONE, 10, Role::Shadow, &HeaderMap::from([("x-envoy-fault-delay", "c")]));
            check.given(ONE, None);
        });
        check("request 1: attempted after its end", |check| {
            check.given(ONE, None);
            check.sent(ONE, 10, Role::Primary, &HeaderMap::new());
        });
    }

    #[test]
    fn a_flood_of_violations_stays_readable() {
        let mut check = Check::default();
        (0..100).for_each(|request| check.given(Cause::of_client(request), None));
        assert_eq!(check.finish().len(), TOLD_MAX + 1);
    }
}
