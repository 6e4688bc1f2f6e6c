//! What happens to traffic after the guest has trapped. Rules seen on Envoy 1.40:
//!
//! - The trapping stream gets one 503 with details `wasm_fail_stream`; other open streams of that instance get the same
//!   when their next part comes; a stream that waits for the guest waits until the world gives up on it.
//! - New streams: refused for ever (closed), passed by for ever (open), or served by a new instance (reload). A reload
//!   happens at the very next stream, but not within the back-off after the one before; until then streams are refused.

/// Envoy's `failure_policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// Refuse all later requests with 503.
    #[default]
    Closed,
    /// Let all later requests pass without the filter.
    Open,
    /// Start the guest anew at the next request.
    Reload {
        /// Nanoseconds between two reloads at least; Envoy's default is one second.
        backoff_ns: u64,
    },
}

impl FailurePolicy {
    /// Reload with Envoy's default back-off of one second.
    pub const RELOAD: FailurePolicy = FailurePolicy::Reload { backoff_ns: 1_000_000_000 };
}

/// How a new stream is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The guest lives.
    Serve,
    /// Start the guest anew first.
    Reload,
    /// Pass by.
    Bypass,
    /// Answer 503.
    Refuse,
}

/// Whether the guest lives, and when it was last started anew.
#[derive(Debug, Default)]
pub(crate) struct Health {
    dead: bool,
    reloaded_ns: Option<u64>,
}

impl Health {
    pub(crate) fn is_dead(&self) -> bool {
        self.dead
    }

    pub(crate) fn die(&mut self) {
        self.dead = true;
    }

    /// Judges a new stream at this monotonic time.
    pub(crate) fn judge(&mut self, policy: FailurePolicy, now_ns: u64) -> Verdict {
        match policy {
            _ if !self.dead => Verdict::Serve,
            FailurePolicy::Closed => Verdict::Refuse,
            FailurePolicy::Open => Verdict::Bypass,
            FailurePolicy::Reload { backoff_ns } => match self.reloaded_ns {
                Some(last) if now_ns < last.saturating_add(backoff_ns) => Verdict::Refuse,
                _ => {
                    self.reloaded_ns = Some(now_ns);
                    self.dead = false;
                    Verdict::Reload
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead() -> Health {
        Health { dead: true, reloaded_ns: None }
    }

    #[test]
    fn closed_refuses_and_open_passes_for_ever() {
        assert_eq!(Health::default().judge(FailurePolicy::Closed, 0), Verdict::Serve);
        assert_eq!(dead().judge(FailurePolicy::Closed, u64::MAX), Verdict::Refuse);
        assert_eq!(dead().judge(FailurePolicy::Open, 0), Verdict::Bypass);
    }

    #[test]
    fn reload_comes_at_once_and_then_not_before_the_back_off() {
        let mut health = dead();
        let policy = FailurePolicy::Reload { backoff_ns: 10 };
        assert_eq!(health.judge(policy, 100), Verdict::Reload);
        assert_eq!(health.judge(policy, 101), Verdict::Serve);
        health.die();
        assert_eq!(health.judge(policy, 109), Verdict::Refuse);
        assert_eq!(health.judge(policy, 110), Verdict::Reload);
    }
}
