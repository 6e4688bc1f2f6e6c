//! Copies of requests for mirrors. Each travels on its own; its answer is read and dropped, and nothing that happens to
//! it touches the original, not even a mirror that never reads. A copy outlives the client once the request is whole.

use crate::feed::{Tap, Upload};
use crate::journey::{Journey, News};
use crate::request_head::Outgoing;
use crate::worker::Outside;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use upstream::Shadow;

/// Sends a copy off. Gives the tap for its body unless the head is the whole request (`whole`). `None` also when too many
/// copies are under way: a mirror that hangs must not fill the memory.
pub(crate) fn send(outside: &Rc<Outside>, shadow: Shadow, outgoing: &Rc<Outgoing>, whole: bool) -> Option<Tap> {
    let limits = &outside.limits;
    if outside.stats.shadows.now() >= limits.shadows {
        outside.stats.shadows_dropped.set(outside.stats.shadows_dropped.get() + 1);
        return None;
    }
    let (upload, tap) = Upload::following(whole, limits.buffer_bytes);
    let journey = Journey::begin(Rc::clone(outside), shadow.exchange, shadow.step, Rc::clone(outgoing), upload);
    tokio::task::spawn_local(travel(Rc::clone(outside), journey, whole));
    (!whole).then_some(tap)
}

async fn travel(outside: Rc<Outside>, mut journey: Journey, mut whole: bool) {
    outside.stats.shadows.enter();
    let way = poll_fn(|cx| {
        loop {
            if !whole && journey.poll_ended(cx).is_ready() {
                whole = true;
                journey.received();
            }
            match journey.poll(cx, true) {
                Poll::Ready(News::Answer { .. } | News::Data(_)) => {}
                Poll::Ready(News::End { .. } | News::Reply(_) | News::Broken { .. }) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    // Without a limit of the request's own this one holds.
    let _ = tokio::time::timeout(outside.limits.stream_idle_timeout, way).await;
    outside.stats.shadows.leave();
}
