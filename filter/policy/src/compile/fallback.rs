//! `ShuntPolicy.fallback`: which requests are protected, and how much that may cost. Whom to ask, and on what, says the plan
//! (`ProfileBinding.fallback`).

use crate::fallback::BudgetRule;
use crate::ratio::Ratio;
use istio_config::delegates::Expanded;
use istio_config::diagnostic::{At, Diagnostics};
use istio_config::shunt_policy::attachment::{Holder, Part, RulePlace};
use istio_config::shunt_policy::{Fallback, FallbackBudget};
use istio_config::{Config, names};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Methods of requests that may be sent twice (RFC 9110, 9.2.2).
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];

/// Share of the requests, in percent, and so many a second, where a policy says neither. The first is Istio's for a `retryBudget`.
const PERCENT: f64 = 20.0;
const PER_SECOND: u32 = 10;

/// What holds for a rule.
#[derive(Debug)]
pub(super) struct Protection {
    pub(super) methods: Box<[Box<[u8]>]>,
    /// Index into `budgets`.
    pub(super) budget: u32,
}

/// All policies.
#[derive(Debug, Default)]
pub(super) struct FallbackRules {
    pub(super) by_rule: BTreeMap<RulePlace, Arc<Protection>>,
    /// One for each policy.
    pub(super) budgets: Vec<BudgetRule>,
}

/// Reads every policy; faults are reported.
pub(super) fn compile(config: &Config, expanded: &[Expanded<'_>], diagnostics: &mut Diagnostics) -> FallbackRules {
    let mut rules = FallbackRules::default();
    for holder in Holder::find(Part::Fallback, config, expanded, diagnostics) {
        let Some(raw) = &holder.policy.spec.fallback else { continue };
        let object = At::object(&holder.policy.meta.reference);
        let spec = object.field("spec");
        let at = spec.field("fallback");
        let methods = methods(&at, raw, diagnostics);
        let budget = u32::try_from(rules.budgets.len()).unwrap_or(u32::MAX);
        rules.budgets.push(budget_rule(&at.field("budget"), raw.budget.as_ref(), diagnostics));
        let protection = Arc::new(Protection { methods, budget });
        rules.by_rule.extend(holder.held.iter().map(|rule| (rule.place(), protection.clone())));
    }
    rules
}

fn methods(at: &At<'_>, raw: &Fallback, diagnostics: &mut Diagnostics) -> Box<[Box<[u8]>]> {
    if raw.methods.is_empty() {
        return IDEMPOTENT.iter().map(|method| method.as_bytes().into()).collect();
    }
    let field = at.field("methods");
    for (index, method) in raw.methods.iter().enumerate() {
        let at = field.index(index);
        if !names::is_token(method) {
            diagnostics.error(&at, "bad-value", format!("`{method}` is no method"), "write it as in GET");
        } else if method.bytes().any(|byte| byte.is_ascii_lowercase()) {
            let message = format!("methods keep their case, and none is called `{method}`");
            diagnostics.error(&at, "bad-value", message, format!("write {}", method.to_ascii_uppercase()));
        } else if !IDEMPOTENT.contains(&method.as_str()) {
            let message = format!("a {method} that one version has begun to carry out is sent to another again");
            let help = "leave it out unless a request that is carried out twice does no harm";
            diagnostics.note(&at, "sent-twice", message, help);
        }
    }
    raw.methods.iter().map(|method| method.as_bytes().into()).collect()
}

fn budget_rule(at: &At<'_>, raw: Option<&FallbackBudget>, diagnostics: &mut Diagnostics) -> BudgetRule {
    let (mut percent, mut per_second) = (PERCENT, PER_SECOND);
    if let Some(FallbackBudget { percent: said, min_per_second }) = raw {
        percent = said.unwrap_or(percent);
        per_second = min_per_second.unwrap_or(per_second);
    }
    let share = Ratio::from_percent(percent);
    if share.is_none() {
        let message = format!("{percent} is not a percentage");
        diagnostics.error(&at.field("percent"), "bad-percentage", message, "write a number from 0 to 100");
    } else if percent == 0.0 && per_second == 0 {
        let help = "give it a percent or a minPerSecond above 0, or remove the fallback";
        diagnostics.error(at, "contradiction", "with a budget of nothing nobody is asked", help);
    }
    BudgetRule { per_million: share.unwrap_or(Ratio::NONE).per_million(), per_second }
}
