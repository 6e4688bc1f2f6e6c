//! The life of a stream as the world tells it: opened, fed with what arrives, closed. After each `Flow::Continue` and each
//! wakeup the world takes what may go on.

use crate::driver::{Flow, Wakeup};
use crate::failure::Verdict;
use crate::half::Released;
use crate::headers::HeaderMap;
use crate::host::Host;
use crate::state::Active;
use crate::stream::{Serving, Stream, StreamId};
use crate::types::Direction;
use crate::vm::Vm;
use bytes::Bytes;

/// What is left of a closed stream: its header maps, to log or to use again.
#[derive(Debug, Default)]
pub struct Closed {
    /// Request headers as they last were.
    pub request: HeaderMap,
    /// Response headers as they last were; empty when there was no response.
    pub response: HeaderMap,
}

/// Who answers the next callback of a stream.
enum Attention {
    Guest,
    Bypass,
    /// The stream has ended already, or fails now.
    Ended,
}

impl<H: Host> Vm<H> {
    /// A new stream: the guest makes a context for it. After a trap the failure policy decides: a new instance, no guest,
    /// or a refusal that the first part of the request meets.
    pub fn open_stream(&mut self) -> StreamId {
        let mut serving = Serving::Guest;
        if self.health.is_dead() {
            let state = self.state();
            let (policy, now) = (state.plugin.failure_policy, state.host.monotonic_ns());
            serving = match self.health.judge(policy, now) {
                Verdict::Serve => Serving::Guest,
                Verdict::Reload if self.reload() => Serving::Guest,
                Verdict::Reload | Verdict::Refuse => Serving::Refuse,
                Verdict::Bypass => Serving::Bypass,
            };
        }
        let root = self.root;
        let state = self.state_mut();
        let context = state.next_context();
        let id = state.streams.open(context, root, state.generation, serving);
        if serving == Serving::Guest {
            if let Some(root) = state.roots.get_mut(root) {
                root.streams += 1;
            }
            // A trap here is met by the first part of the request.
            let _ = self.call(Active::Stream(id), |exports| &exports.context_create, (context, root), ());
            self.settle(Some(id));
        }
        id
    }

    /// The request head has arrived; `end` when nothing follows.
    pub fn request_headers(&mut self, stream: StreamId, headers: HeaderMap, end: bool) -> Flow {
        self.feed(stream, Direction::Request, |stream| stream.request.head_in(headers, end))
    }

    /// A piece of the request body has arrived. HTTP/1 ends a body with an empty piece.
    pub fn request_body(&mut self, stream: StreamId, chunk: impl Into<Bytes>, end: bool) -> Flow {
        let chunk = chunk.into();
        self.feed(stream, Direction::Request, |stream| stream.request.body_in(chunk, end))
    }

    /// The request ends with trailers.
    pub fn request_trailers(&mut self, stream: StreamId, trailers: HeaderMap) -> Flow {
        self.feed(stream, Direction::Request, |stream| stream.request.trailers_in(trailers))
    }

    /// A response head has arrived, from an upstream or made by the world (no host, timeout); never one of
    /// `Flow::LocalReply`, which has been here already. Interim responses (1xx) do not come here.
    pub fn response_headers(&mut self, stream: StreamId, headers: HeaderMap, end: bool) -> Flow {
        self.feed(stream, Direction::Response, |stream| stream.response.head_in(headers, end))
    }

    /// A piece of the response body has arrived.
    pub fn response_body(&mut self, stream: StreamId, chunk: impl Into<Bytes>, end: bool) -> Flow {
        let chunk = chunk.into();
        self.feed(stream, Direction::Response, |stream| stream.response.body_in(chunk, end))
    }

    /// The response ends with trailers.
    pub fn response_trailers(&mut self, stream: StreamId, trailers: HeaderMap) -> Flow {
        self.feed(stream, Direction::Response, |stream| stream.response.trailers_in(trailers))
    }

    /// What of the request may go on since it was last taken. `None` for a stream that is not open.
    pub fn take_request(&mut self, stream: StreamId) -> Option<Released<'_>> {
        self.state_mut().streams.get_mut(stream).map(|stream| stream.request.take())
    }

    /// What of the response, or of a local reply, may go on since it was last taken.
    pub fn take_response(&mut self, stream: StreamId) -> Option<Released<'_>> {
        self.state_mut().streams.get_mut(stream).map(|stream| stream.response.take())
    }

    /// The request headers as they are now, held or gone.
    pub fn request(&self, stream: StreamId) -> Option<&HeaderMap> {
        self.state().streams.get(stream).map(|stream| &stream.request.headers)
    }

    /// The request headers for the world's own edits (a router's, say); `on_log` sees them.
    pub fn request_mut(&mut self, stream: StreamId) -> Option<&mut HeaderMap> {
        self.state_mut().streams.get_mut(stream).map(|stream| &mut stream.request.headers)
    }

    /// The response headers as they are now; empty before there is a response.
    pub fn response(&self, stream: StreamId) -> Option<&HeaderMap> {
        self.state().streams.get(stream).map(|stream| &stream.response.headers)
    }

    /// The response headers for the world's own edits.
    pub fn response_mut(&mut self, stream: StreamId) -> Option<&mut HeaderMap> {
        self.state_mut().streams.get_mut(stream).map(|stream| &mut stream.response.headers)
    }

    /// Whether the guest wrote a request header or called `clear_route_cache` since this was last asked: choose the route
    /// again.
    pub fn take_route_cleared(&mut self, stream: StreamId) -> bool {
        let stream = self.state_mut().streams.get_mut(stream);
        stream.is_some_and(|stream| std::mem::take(&mut stream.route_cleared))
    }

    /// A property that the guest has set, by its path joined with zero bytes (filter state `wasm.<name>` in Envoy).
    pub fn property(&self, stream: StreamId, path: &[u8]) -> Option<&[u8]> {
        let stream = self.state().streams.get(stream)?;
        stream.properties.iter().find(|(own, _)| own == path).map(|(_, value)| value.as_slice())
    }

    /// Body bytes of this stream that are kept here: (request, response).
    pub fn held_bytes(&self, stream: StreamId) -> (usize, usize) {
        let stream = self.state().streams.get(stream);
        stream.map_or((0, 0), |stream| (stream.request.bytes(), stream.response.bytes()))
    }

    /// The next thing that happened to a stream from a callback of another context. Ask until there is none, after each
    /// call into the VM.
    pub fn next_wakeup(&mut self) -> Option<Wakeup> {
        self.wakeups.pop_front()
    }

    /// The stream is over, in whatever way: `on_log`, `on_done`, `on_delete`, in Envoy's order. Callouts it began go on.
    pub fn close_stream(&mut self, stream: StreamId) -> Option<Closed> {
        let generation = self.state().generation;
        let context = self.state_mut().streams.get_mut(stream)?;
        context.over = true;
        let (root, served) = (context.root, context.serving == Serving::Guest && context.generation == generation);
        if served && !self.health.is_dead() {
            self.say_goodbye(stream);
        }
        let state = self.state_mut();
        let gone = state.streams.close(stream)?;
        if served && let Some(root) = state.roots.get_mut(root) {
            root.streams = root.streams.saturating_sub(1);
        }
        self.settle(None);
        self.retire_roots();
        Some(Closed { request: gone.request.headers, response: gone.response.headers })
    }

    fn say_goodbye(&mut self, id: StreamId) {
        let (active, context) = (Active::Stream(id), id.context);
        self.set_logging(id, true);
        if self.call(active, |exports| &exports.log, context, ()).is_err() {
            return;
        }
        self.set_logging(id, false);
        // Envoy deletes a stream context whatever on_done says.
        if self.call(active, |exports| &exports.done, context, 1).is_ok() {
            let _ = self.call(active, |exports| &exports.delete, context, ());
        }
    }

    fn set_logging(&mut self, id: StreamId, logging: bool) {
        if let Some(stream) = self.state_mut().streams.get_mut(id) {
            stream.logging = logging;
        }
    }

    fn feed(&mut self, id: StreamId, direction: Direction, part: impl FnOnce(&mut Stream)) -> Flow {
        let (dead, generation) = (self.health.is_dead(), self.state().generation);
        let attention = match self.state_mut().streams.get_mut(id) {
            None => Attention::Ended,
            Some(stream) if stream.ending.is_some() => Attention::Ended,
            Some(stream) => {
                // A response without a head, and anything twice, is the world's mistake; it must not reach the guest.
                part(stream);
                match stream.serving {
                    Serving::Guest if !dead && stream.generation == generation => Attention::Guest,
                    Serving::Bypass => {
                        stream.half(direction).pass();
                        Attention::Bypass
                    }
                    Serving::Guest | Serving::Refuse => Attention::Ended,
                }
            }
        };
        match attention {
            Attention::Guest => self.drive(id, direction),
            Attention::Bypass => Flow::Continue,
            Attention::Ended => {
                let open = self.state().streams.get(id).is_some_and(|stream| stream.ending.is_none());
                if open {
                    self.fail(id);
                }
                self.flow(id, direction)
            }
        }
    }
}
