//! Retries that have no time to happen.
//!
//! That nothing retries a `perTryTimeout`, the plan reports.

use crate::view::View;
use istio_config::Diagnostics;
use std::time::Duration;

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    for rule in view.rules() {
        let Some(retries) = rule.raw.retries.as_deref() else { continue };
        let attempts = u32::try_from(retries.attempts.unwrap_or(0)).unwrap_or(0);
        let duration = |duration: Option<istio_config::GoDuration>| {
            duration.map(|duration| duration.0).filter(|duration| !duration.is_zero())
        };
        let (Some(each), Some(all)) = (duration(retries.per_try_timeout), duration(rule.raw.timeout)) else { continue };
        if attempts == 0 {
            continue;
        }
        let tries = attempts.saturating_add(1);
        let needed = each.saturating_mul(tries);
        rule.at(|at| {
            let retries = at.field("retries");
            if each >= all {
                let message = format!(
                    "a single try may take {}, and the whole request has {}: nothing is left for a retry",
                    said(each),
                    said(all)
                );
                diagnostics.warning(
                    &retries.field("perTryTimeout"),
                    "per-try-timeout-exceeds-timeout",
                    message,
                    "lower `perTryTimeout`, or raise `timeout`",
                );
            } else if needed > all {
                let fit = all.as_nanos().checked_div(each.as_nanos()).unwrap_or_default();
                let message = format!(
                    "{tries} tries of {} take {}, and `timeout` ends the request after {}: {fit} fit",
                    said(each),
                    said(needed),
                    said(all)
                );
                let help =
                    format!("raise `timeout` to {} or more, or lower `attempts` or `perTryTimeout`", said(needed));
                diagnostics.warning(&retries.field("attempts"), "retries-exceed-timeout", message, help);
            }
        });
    }
}

/// As Go would write it: `2.5s`, `350ms`.
fn said(duration: Duration) -> String {
    format!("{duration:?}")
}
