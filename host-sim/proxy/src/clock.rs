//! The worker's clock. Everything it compares is counted from one start, that of all workers, so that `upstream`, the filter
//! and the workers among each other agree.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use upstream::Timestamp;

/// A start and the way from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkerClock {
    start: Instant,
}

impl WorkerClock {
    pub(crate) fn new() -> Self {
        static START: OnceLock<Instant> = OnceLock::new();
        WorkerClock { start: *START.get_or_init(Instant::now) }
    }

    /// Now, for `upstream`.
    pub(crate) fn now(self) -> Timestamp {
        Timestamp::from_nanos(nanos(self.start.elapsed()))
    }

    /// Now, for the filter: nanoseconds since the start.
    pub(crate) fn monotonic_ns(self) -> u64 {
        nanos(self.start.elapsed())
    }

    /// The moment of the runtime's timer that `at` means.
    pub(crate) fn instant(self, at: Timestamp) -> tokio::time::Instant {
        let at = self.start.checked_add(Duration::from_nanos(at.as_nanos()));
        // What the timer cannot count to is as good as never: a year.
        at.unwrap_or_else(|| Instant::now() + Duration::from_secs(365 * 86_400)).into()
    }
}

/// Nanoseconds since the Unix epoch; 0 if the system's clock stands before it.
pub(crate) fn realtime_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanos)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
