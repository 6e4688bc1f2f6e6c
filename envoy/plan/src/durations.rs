//! Durations as `istioctl validate` takes them: at least a millisecond, in whole milliseconds.

use istio_config::diagnostic::At;
use istio_config::{Diagnostics, GoDuration};
use std::time::Duration;

/// The duration, or `None` after reporting why Istio refuses it (istio `agent.ValidateDuration`).
pub(crate) fn checked(at: &At<'_>, duration: GoDuration, diagnostics: &mut Diagnostics) -> Option<Duration> {
    let GoDuration(duration) = duration;
    let (message, help) = if duration < Duration::from_millis(1) {
        ("shorter than a millisecond", "write 1ms or more, or leave the field out")
    } else if !duration.subsec_nanos().is_multiple_of(1_000_000) {
        ("Istio takes whole milliseconds only", "round it")
    } else {
        return Some(duration);
    };
    diagnostics.error(at, "bad-duration", message, help);
    None
}
