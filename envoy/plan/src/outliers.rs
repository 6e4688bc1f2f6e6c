//! The block `outlierDetection`, as istiod reads it (`applyOutlierDetection`).

use crate::{OutlierDetection, durations};
use istio_config::destination_rule as raw;
use istio_config::diagnostic::At;
use istio_config::{Diagnostics, GoDuration};

/// Reads the block at `at`.
pub(crate) fn compile(at: &At<'_>, raw: &raw::OutlierDetection, diagnostics: &mut Diagnostics) -> OutlierDetection {
    let raw::OutlierDetection {
        // istiod does not look at it any more, and `check` says that it is deprecated.
        consecutive_errors: _,
        split_external_local_origin_errors,
        consecutive_local_origin_failures,
        consecutive_gateway_errors,
        consecutive_5xx_errors,
        interval,
        base_ejection_time,
        max_ejection_percent,
        min_health_percent,
        outlier_detection_http_error_codes,
    } = raw;
    let default = OutlierDetection::default();
    let mut time = |field: &str, duration: &Option<GoDuration>| {
        duration.and_then(|duration| durations::checked(&at.field(field), duration, diagnostics))
    };
    let interval = time("interval", interval).unwrap_or(default.interval);
    let ejection_time = time("baseEjectionTime", base_ejection_time).unwrap_or(default.ejection_time);
    let percent = |percent: Option<i32>| percent.and_then(|percent| u32::try_from(percent.min(100)).ok());
    OutlierDetection {
        errors: consecutive_5xx_errors.unwrap_or(default.errors),
        gateway_errors: consecutive_gateway_errors.unwrap_or(default.gateway_errors),
        local_failures: (*split_external_local_origin_errors == Some(true))
            .then(|| consecutive_local_origin_failures.filter(|number| *number > 0).unwrap_or(default.errors)),
        interval,
        ejection_time,
        ejection_time_max: default.ejection_time_max.max(ejection_time),
        ejected_percent_max: percent(*max_ejection_percent)
            .filter(|percent| *percent > 0)
            .unwrap_or(default.ejected_percent_max),
        healthy_percent_min: percent(*min_health_percent).unwrap_or(default.healthy_percent_min),
        error_codes: outlier_detection_http_error_codes.iter().filter_map(|code| u16::try_from(*code).ok()).collect(),
    }
}
