//! What will surprise in a configuration, beyond what cannot be served.
//!
//! Reading, plan and policy report what they meet anyway: what istioctl refuses, and names that lead nowhere. This crate
//! asks the questions that nobody needs answered to serve a request: whether a rule can ever be reached, whether a retry
//! has time to happen, whether a copy carries out a write twice. [`check`] puts everything together; what it finds is
//! shown by [`Report`], as text, JSON or SARIF.
//!
//! Each analyser is one module, one function from a [`View`] to findings, and none knows another:
//!
//! - [`reach`](mod@reach): rules and match blocks that an earlier one takes everything from, proved by
//!   [`cover`](mod@cover) and [`text_set`](mod@text_set); [`never`](mod@never): match blocks that nothing reaches anyway
//! - [`gateways`](mod@gateways), [`hosts`](mod@hosts), [`subsets`](mod@subsets), [`endpoints`](mod@endpoints): what refers to
//!   nothing
//! - [`retries`](mod@retries), [`weights`](mod@weights), [`hashing`](mod@hashing), [`mirrors`](mod@mirrors),
//!   [`headers`](mod@headers), [`patterns`](mod@patterns), [`names`](mod@names), [`deprecated`](mod@deprecated): what does not
//!   do what it seems to
//! - [`cookies`](mod@cookies), [`keys`](mod@keys), [`context`](mod@context), [`stable`](mod@stable): the same of a ShuntPolicy
//!
//! [`istioctl`](mod@istioctl) holds what istioctl refuses and nobody here needs to know.
//!
//! [`diff`](mod@diff) asks two configurations at once: which rules changed, and for which requests.
//!
//! [`ramp`](mod@ramp) writes the steps of a rule from one version to the next.
//!
//! [`users`](mod@users) says who moves when weights change, where users stay on a version.
//!
//! A finding says what is so, not what may be; where the rules alone cannot tell, it is a note.

mod chain;
mod codes;
mod context;
mod cookies;
mod cover;
mod deprecated;
pub mod diff;
mod endpoints;
mod failover;
mod gateways;
mod hashing;
mod headers;
mod hosts;
mod istioctl;
mod keys;
mod mirrors;
mod names;
mod never;
mod patterns;
pub mod ramp;
mod reach;
mod report;
mod retries;
mod sarif;
mod simple_regex;
mod stable;
mod subsets;
mod suppression;
mod text_set;
pub mod users;
mod view;
mod weights;

pub use chain::Chain;
pub use codes::{Code, code};
pub use report::{Finding, Report, Summary};
pub use suppression::{BadSuppression, Suppression};
pub use view::View;

use envoy_plan::{Caller, Plan};
use istio_config::{Config, Diagnostic, Diagnostics, FilterConfig, Severity};
use traffic_policy::Policy;

/// All analysers, in the order of their findings.
const ANALYSERS: [fn(&View<'_>, &mut Diagnostics); 20] = [
    reach::analyse,
    never::analyse,
    endpoints::analyse,
    gateways::analyse,
    hosts::analyse,
    subsets::analyse,
    weights::analyse,
    hashing::analyse,
    retries::analyse,
    mirrors::analyse,
    headers::analyse,
    patterns::analyse,
    names::analyse,
    deprecated::analyse,
    chain::analyse,
    failover::analyse,
    cookies::analyse,
    keys::analyse,
    context::analyse,
    stable::analyse,
];

/// Everything that can be said about a configuration: what the plan and the policy report while they are built, and what
/// the analysers add. `namespace` is the proxy's.
pub fn check(mut config: Config, namespace: &str, diagnostics: &mut Diagnostics) -> Config {
    config.complete(diagnostics);
    let caller = Caller { namespace: namespace.to_owned(), ..Caller::default() };
    let (_, bindings) = Plan::build_for(&config, &caller, None, diagnostics);
    let filter = FilterConfig { config, bindings, namespace: namespace.to_owned(), ..FilterConfig::default() };
    // Whether there is a policy at all does not matter here; its findings do.
    let _ = Policy::compile(&filter, diagnostics);
    analyse(&filter.config, diagnostics);
    istioctl::analyse(&filter.config, diagnostics);
    // What is served with a warning, because istiod serves it, istioctl does not let pass.
    diagnostics.raise(&istioctl::REFUSED);
    filter.config
}

/// Warns of what istioctl refuses and what is served nevertheless, as istiod would: for commands that serve.
pub fn warn_of_refused(config: &Config, diagnostics: &mut Diagnostics) {
    let mut refused = Diagnostics::default();
    istioctl::analyse(config, &mut refused);
    for found in refused.iter() {
        diagnostics.push(Diagnostic { severity: Severity::Warning, ..found.clone() });
    }
}

/// What the analysers alone find.
pub fn analyse(config: &Config, diagnostics: &mut Diagnostics) {
    let view = View::with_faults(config, diagnostics);
    for analyser in ANALYSERS {
        analyser(&view, diagnostics);
    }
}
