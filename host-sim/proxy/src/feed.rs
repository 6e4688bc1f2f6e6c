//! Request bodies on their way to an upstream: pieces go in as they come from the client and out as the connection takes
//! them. Of a request that may be sent again all pieces are kept, up to a limit, so that each attempt gets the whole body.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Bytes that may wait in a feed before no more is read from the client.
const WAITING_BYTES: usize = 64 * 1024;

/// A piece of a body.
#[derive(Clone, Debug)]
enum Piece {
    Data(Bytes),
    Trailers(hyper::HeaderMap),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Data(data) => data.len(),
            Piece::Trailers(_) => 0,
        }
    }
}

/// The body has not come to its end: the client went away, or nobody wants it any more.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the request body broke off")]
pub(crate) struct BrokenOff;

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Piece>,
    bytes: usize,
    ended: bool,
    broken: bool,
    /// The connection has dropped the body.
    unwanted: bool,
    reader: Option<Waker>,
    /// Whoever waits for room, or for the end.
    watcher: Option<Waker>,
}

/// The way of one body to one attempt.
#[derive(Debug, Default)]
pub(crate) struct Feed(RefCell<State>);

impl Feed {
    fn push(&self, piece: Piece) {
        let mut state = self.0.borrow_mut();
        if state.unwanted || state.broken {
            return;
        }
        state.bytes += piece.len();
        state.pieces.push_back(piece);
        wake(&mut state.reader);
    }

    fn end(&self) {
        let mut state = self.0.borrow_mut();
        state.ended = true;
        wake(&mut state.reader);
        wake(&mut state.watcher);
    }

    /// Breaks the body off, unless it has been given whole.
    fn break_off(&self) {
        let mut state = self.0.borrow_mut();
        if !state.ended {
            state.broken = true;
            state.pieces.clear();
            wake(&mut state.reader);
            wake(&mut state.watcher);
        }
    }

    /// Ready when more may be pushed.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.borrow_mut();
        if state.bytes < WAITING_BYTES || state.unwanted || state.broken {
            return Poll::Ready(());
        }
        state.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ready when all of the body is in the feed, or never will be.
    fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.borrow_mut();
        if state.ended || state.broken {
            return Poll::Ready(());
        }
        state.watcher = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// What a connection to an upstream reads a request body from.
#[derive(Debug)]
pub(crate) struct UpstreamBody(Option<Rc<Feed>>);

impl UpstreamBody {
    /// No body at all.
    pub(crate) const EMPTY: Self = UpstreamBody(None);
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let Some(feed) = &self.0 else { return Poll::Ready(None) };
        let mut state = feed.0.borrow_mut();
        if state.broken {
            return Poll::Ready(Some(Err(BrokenOff)));
        }
        match state.pieces.pop_front() {
            Some(piece) => {
                state.bytes -= piece.len();
                wake(&mut state.watcher);
                Poll::Ready(Some(Ok(match piece {
                    Piece::Data(data) => Frame::data(data),
                    Piece::Trailers(trailers) => Frame::trailers(trailers),
                })))
            }
            None if state.ended => Poll::Ready(None),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|feed| {
            let state = feed.0.borrow();
            state.ended && state.pieces.is_empty()
        })
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            None => SizeHint::with_exact(0),
            Some(feed) => {
                let state = feed.0.borrow();
                let trailers = matches!(state.pieces.back(), Some(Piece::Trailers(_)));
                match u64::try_from(state.bytes) {
                    Ok(bytes) if state.ended && !trailers => SizeHint::with_exact(bytes),
                    _ => SizeHint::default(),
                }
            }
        }
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        if let Some(feed) = &self.0 {
            let mut state = feed.0.borrow_mut();
            state.unwanted = true;
            state.pieces.clear();
            wake(&mut state.watcher);
        }
    }
}

/// The body of one request, for all its attempts.
#[derive(Debug)]
pub(crate) struct Upload {
    /// There is no body.
    none: bool,
    ended: bool,
    /// What came so far, while the request may have to be sent again.
    kept: Option<Vec<Piece>>,
    kept_bytes: usize,
    limit: usize,
    /// The way to the attempt under way.
    feed: Option<Rc<Feed>>,
    /// What the only attempt of a copy will read.
    tapped: Option<Rc<Feed>>,
}

/// Where the copy of a body is put in. Dropped before its end, it breaks the copy off.
#[derive(Debug)]
pub(crate) struct Tap {
    feed: Rc<Feed>,
    limit: usize,
}

impl Tap {
    /// The next piece; whether the copy goes on. A reader that is too slow does not hold the original back: it gets no
    /// more.
    pub(crate) fn push(&self, data: Bytes) -> bool {
        self.feed.push(Piece::Data(data));
        let state = self.feed.0.borrow();
        let fits = state.bytes <= self.limit;
        drop(state);
        if !fits {
            self.feed.break_off();
        }
        fits
    }

    /// The body has come to its end.
    pub(crate) fn end(&self, trailers: Option<hyper::HeaderMap>) {
        if let Some(trailers) = trailers {
            self.feed.push(Piece::Trailers(trailers));
        }
        self.feed.end();
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.feed.break_off();
    }
}

/// More has come than is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outgrown;

impl Upload {
    /// `none` if the head is the whole request; `keep` if it may be sent again; `limit` in bytes.
    pub(crate) fn new(none: bool, keep: bool, limit: usize) -> Self {
        Upload {
            none,
            ended: none,
            kept: (keep && !none).then(Vec::new),
            kept_bytes: 0,
            limit,
            feed: None,
            tapped: None,
        }
    }

    /// A body that is there already.
    pub(crate) fn whole(body: Bytes) -> Self {
        let mut upload = Upload::new(body.is_empty(), true, usize::MAX);
        if !upload.none {
            // No body reaches this limit.
            let _ = upload.push(body);
            upload.end(None);
        }
        upload
    }

    /// The body of a copy, which follows another one through a [`Tap`]; for one attempt. `none` as in [`Upload::new`].
    pub(crate) fn following(none: bool, limit: usize) -> (Self, Tap) {
        let feed = Rc::new(Feed::default());
        let mut upload = Upload::new(none, false, 0);
        upload.tapped = Some(Rc::clone(&feed));
        (upload, Tap { feed, limit })
    }

    /// The body for a new attempt, from its beginning. The attempt before gets no more.
    pub(crate) fn begin(&mut self) -> UpstreamBody {
        if self.none {
            return UpstreamBody::EMPTY;
        }
        let feed = self.tapped.take().unwrap_or_default();
        for piece in self.kept.iter().flatten() {
            feed.push(piece.clone());
        }
        if self.ended {
            feed.end();
        }
        self.stop();
        self.feed = Some(Rc::clone(&feed));
        UpstreamBody(Some(feed))
    }

    /// The attempt under way is over; what it has not read of the body it will not get.
    pub(crate) fn stop(&mut self) {
        if let Some(feed) = self.feed.take() {
            feed.break_off();
        }
    }

    /// Whether all of the body is here.
    pub(crate) fn is_whole(&self) -> bool {
        self.ended
    }

    /// The request will not be sent again.
    pub(crate) fn forget(&mut self) {
        self.kept = None;
    }

    /// The next piece.
    ///
    /// # Errors
    ///
    /// [`Outgrown`], once, when this piece is one too many to keep. The attempt under way gets it all the same.
    pub(crate) fn push(&mut self, data: Bytes) -> Result<(), Outgrown> {
        let mut outgrown = false;
        if let Some(kept) = &mut self.kept {
            self.kept_bytes += data.len();
            outgrown = self.kept_bytes > self.limit;
            kept.push(Piece::Data(data.clone()));
        }
        if outgrown {
            self.kept = None;
        }
        if let Some(feed) = &self.feed {
            feed.push(Piece::Data(data));
        }
        if outgrown { Err(Outgrown) } else { Ok(()) }
    }

    /// The body has come to its end.
    pub(crate) fn end(&mut self, trailers: Option<hyper::HeaderMap>) {
        self.ended = true;
        if let Some(trailers) = trailers {
            if let Some(kept) = &mut self.kept {
                kept.push(Piece::Trailers(trailers.clone()));
            }
            if let Some(feed) = &self.feed {
                feed.push(Piece::Trailers(trailers));
            }
        }
        if let Some(feed) = &self.feed {
            feed.end();
        }
    }

    /// Ready when more may be read from the client.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.feed.as_ref().map_or(Poll::Ready(()), |feed| feed.poll_room(cx))
    }
}

impl Upload {
    /// Ready when the body of a copy is there to its end, or never will be.
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let feed = self.tapped.as_ref().or(self.feed.as_ref());
        feed.map_or(Poll::Ready(()), |feed| feed.poll_ended(cx))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn text(body: UpstreamBody) -> Result<String, BrokenOff> {
        body.collect().await.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned())
    }

    fn push(upload: &mut Upload, text: &'static str) -> Result<(), Outgrown> {
        upload.push(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn each_attempt_gets_the_whole_body() {
        let mut upload = Upload::new(false, true, 100);
        let first = upload.begin();
        push(&mut upload, "ab").unwrap();
        let second = upload.begin();
        push(&mut upload, "cd").unwrap();
        upload.end(None);
        assert!(text(first).await.is_err(), "an attempt that is over gets no more");
        assert_eq!(text(second).await.unwrap(), "abcd");
        assert_eq!(text(upload.begin()).await.unwrap(), "abcd");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn too_much_is_said_once_and_still_passes() {
        let mut upload = Upload::new(false, true, 3);
        let body = upload.begin();
        assert_eq!(push(&mut upload, "ab"), Ok(()));
        assert_eq!(push(&mut upload, "cd"), Err(Outgrown));
        assert_eq!(push(&mut upload, "ef"), Ok(()));
        upload.end(None);
        assert_eq!(text(body).await.unwrap(), "abcdef");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_copy_that_is_not_read_breaks_off() {
        let (mut upload, tap) = Upload::following(false, 3);
        let body = upload.begin();
        assert!(tap.push(Bytes::from_static(b"ab")));
        assert!(!tap.push(Bytes::from_static(b"cd")));
        tap.end(None);
        assert!(text(body).await.is_err());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_copy_whose_original_goes_away_breaks_off() {
        let (mut upload, tap) = Upload::following(false, 100);
        let body = upload.begin();
        tap.push(Bytes::from_static(b"ab"));
        drop(tap);
        assert!(text(body).await.is_err());
    }
}
