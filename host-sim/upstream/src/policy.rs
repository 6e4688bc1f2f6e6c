//! A profile made ready for use: conditions as a set of bits, durations as Envoy reads them. Built once per plan.

use std::time::Duration;

use envoy_plan::{HashKey, Profile, RetryOn, RetryPolicy};

use crate::backoff::Backoff;

/// A set of retry conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions(u32);

impl Conditions {
    pub(crate) fn insert(&mut self, condition: RetryOn) {
        self.0 |= 1 << condition as u32;
    }

    pub(crate) const fn contains(self, condition: RetryOn) -> bool {
        self.0 & (1 << condition as u32) != 0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<RetryOn> for Conditions {
    fn from_iter<I: IntoIterator<Item = RetryOn>>(conditions: I) -> Self {
        let mut set = Self::default();
        conditions.into_iter().for_each(|condition| set.insert(condition));
        set
    }
}

/// What a profile says about attempts and time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// Limit for the whole request; `None`: none.
    pub(crate) timeout: Option<Duration>,
    /// Limit for one attempt; `None`: none.
    pub(crate) per_try_timeout: Option<Duration>,
    /// When to try again. Empty: never, unless a request header names a condition.
    pub(crate) conditions: Conditions,
    /// Attempts after the first, `None` where the profile has no retry policy.
    pub(crate) retries: Option<u32>,
    /// Codes that count under `retriable-status-codes`.
    pub(crate) status_codes: Vec<u16>,
    /// More draws than the first that avoiding tried endpoints may cost; 0: they are not avoided.
    pub(crate) redraws: u32,
    pub(crate) backoff: Backoff,
    /// Clusters that get a copy.
    pub(crate) mirrors: Vec<String>,
    /// What a hash is made of; headers in lower case.
    pub(crate) hash_keys: Vec<HashKey>,
    /// Attempts after the first leave the cluster that failed, where there are two.
    pub(crate) falls_back: bool,
}

impl Policy {
    pub(crate) fn compile(profile: &Profile) -> Self {
        let Profile { name: _, timeout, retry, mirrors, hash_keys, falls_back } = profile;
        let lowered = |key: &HashKey| match key {
            HashKey::Header(name) => HashKey::Header(name.to_ascii_lowercase()),
            other => other.clone(),
        };
        let hash_keys = hash_keys.iter().map(lowered).collect();
        let base = Self {
            timeout: limit(*timeout),
            mirrors: mirrors.clone(),
            hash_keys,
            falls_back: *falls_back,
            ..Self::default()
        };
        let Some(retry) = retry else { return base };
        let RetryPolicy {
            retries,
            on,
            status_codes,
            per_try_timeout,
            avoid_previous_hosts,
            host_selection_attempts,
            backoff,
        } = retry;
        Self {
            per_try_timeout: limit(*per_try_timeout),
            conditions: on.iter().copied().collect(),
            retries: Some(*retries),
            status_codes: status_codes.clone(),
            redraws: if *avoid_previous_hosts { *host_selection_attempts } else { 0 },
            backoff: Backoff::compile(*backoff),
            ..base
        }
    }
}

/// A limit of zero is none, here as in Envoy.
pub(crate) fn limit(limit: Option<Duration>) -> Option<Duration> {
    limit.filter(|limit| !limit.is_zero())
}
