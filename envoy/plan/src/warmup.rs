//! The blocks `warmup` and `warmupDurationSecs` of a load balancer, as istiod reads them (`setWarmup`,
//! `setSlowStartConfig`).

use crate::PerMillion;
use istio_config::GoDuration;
use istio_config::destination_rule as raw;
use std::time::Duration;

/// An endpoint that joins a cluster gets less than its share at first (Envoy's slow start). It holds for round robin and
/// least request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warmup {
    /// For so long (`warmup.duration`). Zero: not at all.
    pub window: Duration,
    /// And never less than this of its weight (`warmup.minimumPercent`, by default 10).
    pub least: PerMillion,
    /// How fast it grows (`warmup.aggression`, by default 1): after the part `t` of the window it gets `t^(1/aggression)` of its
    /// weight.
    pub aggression: f64,
}

/// What the two blocks say together: the deprecated one counts where the other is absent.
pub(crate) fn compile(block: Option<&raw::WarmupConfiguration>, deprecated: Option<GoDuration>) -> Option<Warmup> {
    let none = raw::WarmupConfiguration { duration: deprecated, minimum_percent: None, aggression: None };
    let raw::WarmupConfiguration { duration, minimum_percent, aggression } = block.unwrap_or(&none);
    // `check` refuses a block without a duration; Envoy reads it as zero.
    let GoDuration(window) = (*duration)?;
    Some(Warmup {
        window,
        // `check` refuses what is not a percentage, as Envoy does.
        least: PerMillion::from_percent(minimum_percent.unwrap_or(10.0).clamp(0.0, 100.0)),
        aggression: aggression.filter(|aggression| *aggression > 0.0).unwrap_or(1.0),
    })
}
