//! What objects of several kinds have: labels, `exportTo`, durations, names of Gateways.

use super::names;
use istio_config::diagnostic::At;
use istio_config::{Diagnostics, GoDuration};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// `labels.Instance.Validate`.
pub(super) fn labels(at: &At<'_>, labels: &BTreeMap<String, String>, diagnostics: &mut Diagnostics) {
    for (key, value) in labels {
        let help = "letters, digits, `-`, `_` and `.`, with a letter or digit at both ends, at most 63";
        if !names::is_label_key(key) {
            diagnostics.error(&at.key(key), "bad-label", format!("`{key}` cannot be the key of a label"), help);
        }
        if !names::is_label_value(value) {
            diagnostics.error(&at.key(key), "bad-label", format!("`{value}` cannot be the value of a label"), help);
        }
    }
}

/// Keys and values of a workload selector.
pub(super) fn selector(at: &At<'_>, labels: &BTreeMap<String, String>, diagnostics: &mut Diagnostics) {
    for (key, value) in labels.iter().filter(|(key, value)| key.is_empty() || key.contains('*') || value.contains('*'))
    {
        let message = format!("`{key}: {value}` selects nothing: a key has a name, and there are no wildcards");
        diagnostics.error(&at.key(key), "bad-label", message, "write the label in full");
    }
}

/// Who exports, and what else Istio asks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exporter {
    Rules,
    /// May be exported to nobody.
    Service,
    /// A DestinationRule for some workloads: for its own namespace only.
    OfWorkloads,
}

/// `validateExportTo`.
pub(super) fn export_to(
    at: &At<'_>,
    namespace: &str,
    export_to: &[String],
    exporter: Exporter,
    diagnostics: &mut Diagnostics,
) {
    let mut sound = BTreeSet::new();
    for (index, entry) in export_to.iter().enumerate() {
        let key = if entry == "." { namespace } else { entry };
        let at = at.index(index);
        let mut refuse = |message: String, help: &str| diagnostics.error(&at, "bad-export-to", message, help);
        if sound.contains(key) {
            refuse(format!("`{entry}` stands here twice; `.` is the namespace of the object"), "keep one of them");
        } else if key == "~" && exporter != Exporter::Service {
            refuse("`~` (nobody) is for ServiceEntries only".to_owned(), "write `.` for the object's own namespace");
        } else if key == "*" || key == "~" || names::is_label(key) {
            sound.insert(key);
        } else {
            refuse(format!("`{entry}` is no namespace"), "write a namespace, `.` for the own one or `*` for all");
        }
    }
    for alone in ["*", "~"] {
        if sound.contains(alone) && export_to.len() > 1 {
            let message = format!("`{alone}` stands alone");
            diagnostics.error(at, "bad-export-to", message, "remove the others");
        }
    }
    if exporter == Exporter::OfWorkloads && !sound.is_empty() && (sound.len() > 1 || !sound.contains(namespace)) {
        let message = "a rule with a workloadSelector is for its own namespace only";
        diagnostics.error(at, "bad-export-to", message, "write `.`, or leave exportTo out");
    }
}

/// `ValidateDuration`: a millisecond or more, in whole milliseconds.
pub(super) fn duration(at: &At<'_>, duration: Option<GoDuration>, diagnostics: &mut Diagnostics) {
    let Some(GoDuration(duration)) = duration else { return };
    if duration < Duration::from_millis(1) {
        diagnostics.error(
            at,
            "bad-duration",
            "shorter than a millisecond",
            "write 1ms or more, or leave the field out",
        );
    } else if !duration.subsec_nanos().is_multiple_of(1_000_000) {
        diagnostics.error(at, "bad-duration", "Istio takes whole milliseconds only", "round it");
    }
}

/// `validateGatewayNames`, which looks no further than the first name without a namespace.
pub(super) fn gateway_names(at: &At<'_>, gateways: &[String], diagnostics: &mut Diagnostics) {
    for (index, name) in gateways.iter().enumerate() {
        let (is_sound, is_last) = match name.split_once('/') {
            Some((namespace, name)) => (names::is_label(namespace) && names::is_label(name), false),
            None => (names::is_domain(name), true),
        };
        if !is_sound {
            let message = format!("`{name}` cannot be the name of a Gateway");
            diagnostics.error(&at.index(index), "bad-gateway-name", message, "write NAME, or NAMESPACE/NAME");
        }
        if is_last {
            return;
        }
    }
}

/// A number that may not be below zero.
pub(super) fn not_negative(at: &At<'_>, number: Option<i32>, diagnostics: &mut Diagnostics) {
    if let Some(number) = number.filter(|number| *number < 0) {
        diagnostics.error(at, "bad-policy", format!("{number} is below 0"), "write 0 or more, or leave the field out");
    }
}

/// A whole number of percent.
pub(super) fn percent(at: &At<'_>, percent: Option<i32>, diagnostics: &mut Diagnostics) {
    if let Some(percent) = percent.filter(|percent| !(0..=100).contains(percent)) {
        diagnostics.error(at, "bad-percentage", format!("{percent} is not a percentage"), "write 0 to 100");
    }
}
