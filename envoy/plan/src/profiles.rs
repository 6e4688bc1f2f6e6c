//! Profiles: rules that ask for the same native policy share one.

use crate::consistent_hash::RuleKeys;
use crate::mirrors::Mirrors;
use crate::{DEFAULT_PROFILE, HashKey, Profile, RetryPolicy, durations, retries};
use istio_config::diagnostic::At;
use istio_config::virtual_service::HttpRetry;
use istio_config::{Diagnostics, GoDuration};
use std::time::Duration;

/// What a rule asks for beside its mirrors.
#[derive(Clone)]
pub(crate) struct Native {
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Option<RetryPolicy>,
    hash_keys: Vec<HashKey>,
    falls_back: bool,
}

impl Native {
    /// Reads `timeout` and `retries` of the rule at `at`; `keys` are those of its destinations.
    pub(crate) fn compile(
        at: &At<'_>,
        timeout: Option<GoDuration>,
        retries: Option<&HttpRetry>,
        keys: RuleKeys,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let RuleKeys { keys: hash_keys, stays } = keys;
        let mut retry = retries::compile(at, retries, diagnostics);
        let is_said = retries.is_some_and(|raw| raw.retry_ignore_previous_hosts.is_some());
        if let Some(retry) = retry.as_mut().filter(|_| stays && !is_said) {
            retry.avoid_previous_hosts = false;
        }
        Self { timeout: timeout_of(at, timeout, diagnostics), retry, hash_keys, falls_back: false }
    }

    /// The same for requests that may be asked of another version, so often and on this.
    pub(crate) fn falling_back(&self, retry: RetryPolicy) -> Self {
        Self { retry: Some(retry), falls_back: true, ..self.clone() }
    }
}

/// `0s` means no timeout, as absence does, though the Istio of today refuses to be told so.
fn timeout_of(at: &At<'_>, timeout: Option<GoDuration>, diagnostics: &mut Diagnostics) -> Option<Duration> {
    let at = at.field("timeout");
    if timeout? == GoDuration(Duration::ZERO) {
        let help = "leave it out: there is no timeout by default";
        diagnostics.warning(&at, "zero-timeout", "Istio refuses a timeout of zero; here it means none", help);
        return None;
    }
    durations::checked(&at, timeout?, diagnostics)
}

/// The profiles made so far.
pub(crate) struct Profiles {
    made: Vec<Profile>,
}

impl Profiles {
    /// Only the default profile: no timeout, the mesh's retries, no mirrors.
    pub(crate) fn new() -> Self {
        let default = Profile {
            name: DEFAULT_PROFILE.to_owned(),
            retry: Some(RetryPolicy::mesh_default()),
            ..Profile::default()
        };
        Self { made: vec![default] }
    }

    /// One profile name for each set of mirrors, numbered by its bits; empty for the default profile, and for a set
    /// that no request can draw.
    pub(crate) fn bind(&mut self, native: &Native, mirrors: &Mirrors) -> Vec<String> {
        let Native { timeout, retry, hash_keys, falls_back } = native;
        let (falls_back, timeout) = (*falls_back, *timeout);
        let mut name = |mirrors| {
            let (retry, hash_keys) = (retry.clone(), hash_keys.clone());
            name_of(&mut self.made, Profile { name: String::new(), timeout, retry, mirrors, hash_keys, falls_back })
        };
        mirrors.combinations().map(|mirrors| mirrors.map_or_else(String::new, &mut name)).collect()
    }

    /// The name for a service without rules, whose requests have this key.
    pub(crate) fn of_service(&mut self, key: HashKey) -> String {
        let retry = Some(RetryPolicy::mesh_default());
        name_of(&mut self.made, Profile { retry, hash_keys: vec![key], ..Profile::default() })
    }

    /// All profiles, the default first.
    pub(crate) fn finish(self) -> Vec<Profile> {
        self.made
    }
}

/// The name of the profile that says the same among those made so far, a new one if there is none; empty for the default.
/// What `wanted` is called does not matter.
pub(crate) fn name_of(made: &mut Vec<Profile>, wanted: Profile) -> String {
    let same = |made: &&Profile| Profile { name: wanted.name.clone(), ..(*made).clone() } == wanted;
    match made.iter().find(same) {
        Some(made) if made.name == DEFAULT_PROFILE => String::new(),
        Some(made) => made.name.clone(),
        None => {
            let name = format!("p{}", made.len());
            made.push(Profile { name: name.clone(), ..wanted });
            name
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{build, check_findings, profile_of, rules};
    use std::time::Duration;

    /// The profiles of each rule, as `rule: names`; rules without a binding are left out.
    fn check(http: &[&str], expected: &[&str]) {
        let (plan, bindings, _) = build(&rules(http));
        let found: Vec<String> = bindings
            .iter()
            .map(|binding| format!("{} {}: {}", binding.virtual_service, binding.http, binding.profiles.join(",")))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(plan.profiles[0].name, "default");
        for (index, profile) in plan.profiles.iter().enumerate().skip(1) {
            assert_eq!(profile.name, format!("p{index}"));
        }
    }

    const ROUTE: &str = "route: [{destination: {host: a}}]";

    #[test]
    fn a_rule_that_asks_for_nothing_meets_the_default() {
        check(&[&format!("{{{ROUTE}}}")], &[]);
        check(&[&format!("{{{ROUTE}, retries: {{attempts: 2}}}}")], &[]);
    }

    #[test]
    fn equal_policies_share_a_profile_and_names_follow_first_use() {
        check(
            &[
                &format!("{{{ROUTE}, timeout: 1s}}"),
                &format!("{{{ROUTE}}}"),
                &format!("{{{ROUTE}, retries: {{attempts: 0}}}}"),
                &format!("{{{ROUTE}, timeout: 1000ms}}"),
                &format!("{{{ROUTE}, timeout: 1s, mirror: {{host: a}}, mirrorPercentage: {{value: 1}}}}"),
            ],
            &["default/v 0: p1", "default/v 2: p2", "default/v 3: p1", "default/v 4: p1,p3"],
        );
    }

    #[test]
    fn only_rules_with_a_route_are_bound() {
        check(&["{redirect: {uri: /}, timeout: 1s}", "{directResponse: {status: 200}, retries: {attempts: 0}}"], &[]);
    }

    #[test]
    fn a_timeout_of_zero_is_none() {
        assert_eq!(profile_of(&format!("{{{ROUTE}, timeout: 3s}}")).timeout, Some(Duration::from_secs(3)));
        check(&[&format!("{{{ROUTE}, timeout: 0s}}")], &[]);
        check_findings(
            &rules(&[&format!("{{{ROUTE}, timeout: 0s}}")]),
            &["VirtualService spec.http[0].timeout: warning[zero-timeout]"],
        );
        check_findings(
            &rules(&[&format!("{{{ROUTE}, timeout: 100us}}")]),
            &["VirtualService spec.http[0].timeout: error[bad-duration]"],
        );
        check_findings(
            &rules(&[&format!("{{{ROUTE}, timeout: 1.0005s}}")]),
            &["VirtualService spec.http[0].timeout: error[bad-duration]"],
        );
    }
}
