//! The block `loadBalancer`: how an endpoint is chosen, and among which.

use crate::consistent_hash::Hashed;
use crate::locality_lb::LocalityLb;
use crate::traffic_policy::compile_load_balancer;
use crate::{LoadBalancing, Warmup, warmup};
use istio_config::Diagnostics;
use istio_config::destination_rule as raw;
use istio_config::diagnostic::At;

/// What the block says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoadBalancer {
    pub(crate) method: LoadBalancing,
    pub(crate) warmup: Option<Warmup>,
    /// `None`: localities do not matter.
    pub(crate) locality: Option<LocalityLb>,
}

impl Default for LoadBalancer {
    /// What holds without the block: Istio's MeshConfig has `localityLbSetting: {enabled: true}`.
    fn default() -> Self {
        Self { method: LoadBalancing::default(), warmup: None, locality: Some(LocalityLb::default()) }
    }
}

impl LoadBalancer {
    /// Reads the block at `at`; what it says of keys is told apart.
    pub(crate) fn compile(
        at: &At<'_>,
        raw: &raw::LoadBalancerSettings,
        diagnostics: &mut Diagnostics,
    ) -> (Self, Option<Hashed>) {
        let (method, hash) = compile_load_balancer(at, raw, diagnostics);
        // The other methods do not look at it.
        let can_warm_up = matches!(method, LoadBalancing::LeastRequest | LoadBalancing::RoundRobin);
        let locality = match (&raw.zone_aware_lb_setting, &raw.locality_lb_setting) {
            (Some(_), _) => None,
            (None, Some(setting)) => LocalityLb::compile(setting),
            (None, None) => Some(LocalityLb::default()),
        };
        let warmup = warmup::compile(raw.warmup.as_ref(), raw.warmup_duration_secs).filter(|_| can_warm_up);
        (Self { method, warmup, locality }, hash)
    }
}
