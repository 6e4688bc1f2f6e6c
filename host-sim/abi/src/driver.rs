//! Between the guest's answers and the state of streams: asks the guest about what has come in, and carries out what it
//! wished for during a callback once the callback has returned.

use crate::half::{Ask, Progress, Stop};
use crate::host::Host;
use crate::local_reply::{CLOSE_STREAM, FAIL_STREAM, LocalReply};
use crate::state::{Active, Effect};
use crate::stream::{Ending, StreamId};
use crate::types::Direction;
use crate::vm::Vm;
use std::borrow::Cow;

/// What the guest has decided about the part it was just given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Take what may go on: [`Vm::take_request`] or [`Vm::take_response`].
    Continue,
    /// Held. A [`Wakeup`] comes when the guest lets go.
    Pause,
    /// The request goes no further. The answer has already passed the filter's own response callbacks: take it with
    /// [`Vm::take_response`] (when it gives nothing the guest holds the answer, and a wakeup follows).
    LocalReply {
        /// Response code details for the access log.
        details: Cow<'static, str>,
    },
    /// Cut the stream off on both sides, then close it.
    Reset {
        /// Response code details for the access log.
        details: Cow<'static, str>,
    },
}

/// Something that happened to a stream from another callback than its own: a tick, a callout answer, a queue, another
/// stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wakeup {
    /// Whom it concerns.
    pub stream: StreamId,
    /// What to do.
    pub what: Woken,
}

/// What happened to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Woken {
    /// [`Vm::take_request`] may have something.
    Request,
    /// [`Vm::take_response`] may have something.
    Response,
    /// As [`Flow::LocalReply`].
    LocalReply {
        /// Response code details for the access log.
        details: Cow<'static, str>,
    },
    /// As [`Flow::Reset`].
    Reset {
        /// Response code details for the access log.
        details: Cow<'static, str>,
    },
}

impl<H: Host> Vm<H> {
    /// Asks the guest about everything that is due in one direction, and says how the stream stands then.
    pub(crate) fn drive(&mut self, id: StreamId, direction: Direction) -> Flow {
        self.pump(id, direction);
        self.settle(Some(id));
        self.flow(id, direction)
    }

    /// How the stream stands; an ending is told once.
    pub(crate) fn flow(&mut self, id: StreamId, direction: Direction) -> Flow {
        let Some(stream) = self.state_mut().streams.get_mut(id) else {
            return Flow::Reset { details: Cow::Borrowed("stream_closed") };
        };
        if !stream.told {
            stream.told = stream.ending.is_some();
            match stream.ending.clone() {
                Some(Ending::Reply(details)) => return Flow::LocalReply { details },
                Some(Ending::Reset(details)) => return Flow::Reset { details },
                None => {}
            }
        }
        match stream.half(direction).stop {
            Stop::No => Flow::Continue,
            _ => Flow::Pause,
        }
    }

    /// Makes the callbacks that are due until there are none, or the guest stops this direction.
    fn pump(&mut self, id: StreamId, direction: Direction) {
        loop {
            let Some(stream) = self.state_mut().streams.get_mut(id) else { return };
            let ended = match stream.ending {
                Some(Ending::Reset(_)) => true,
                Some(Ending::Reply(_)) => direction == Direction::Request,
                None => false,
            };
            if ended {
                return;
            }
            let Some(ask) = stream.half(direction).next() else { return };
            if !self.ask(id, direction, ask) {
                return;
            }
        }
    }

    /// One callback and its answer. Whether the stream goes on.
    fn ask(&mut self, id: StreamId, direction: Direction, ask: Ask) -> bool {
        let state = self.state_mut();
        let earlier = state.effects.len();
        let Some(stream) = state.streams.get_mut(id) else { return false };
        let half = stream.half(direction);
        let (context, active) = (id.context, Active::Stream(id));
        let headers = half.headers.len() as u32;
        let trailers = half.trailers.len() as u32;
        let answer = match (direction, ask) {
            (Direction::Request, Ask::Head { end }) => {
                self.call(active, |exports| &exports.request_headers, (context, headers, end.into()), 0)
            }
            (Direction::Request, Ask::Body { size, end }) => {
                self.call(active, |exports| &exports.request_body, (context, size as u32, end.into()), 0)
            }
            (Direction::Request, Ask::Trailers) => {
                self.call(active, |exports| &exports.request_trailers, (context, trailers), 0)
            }
            (Direction::Response, Ask::Head { end }) => {
                self.call(active, |exports| &exports.response_headers, (context, headers, end.into()), 0)
            }
            (Direction::Response, Ask::Body { size, end }) => {
                self.call(active, |exports| &exports.response_body, (context, size as u32, end.into()), 0)
            }
            (Direction::Response, Ask::Trailers) => {
                self.call(active, |exports| &exports.response_trailers, (context, trailers), 0)
            }
        };
        let Ok(action) = answer else {
            self.state_mut().effects.retain(|effect| !effect.concerns(id));
            self.fail(id);
            return false;
        };
        let state = self.state_mut();
        let (resumed, ends) = state.own_effects(earlier, id, direction);
        if ends {
            return false;
        }
        let body_while_head_held = state.plugin.body_while_head_paused;
        let Some(stream) = state.streams.get_mut(id) else { return false };
        let half = stream.half(direction);
        if action == 0 || resumed {
            half.go(ask);
        } else {
            half.pause(ask, body_while_head_held);
        }
        true
    }

    /// Carries out what the guest has wished for. What happens to other streams than `primary` becomes a wakeup.
    pub(crate) fn settle(&mut self, primary: Option<StreamId>) {
        while let Some(effect) = self.state_mut().effects.pop_front() {
            match effect {
                Effect::Resume(id, direction) => self.resume(id, direction, primary),
                Effect::Reply(id, reply) => {
                    self.reply(id, *reply);
                    self.tell_ending(id, primary);
                }
                Effect::Close(id) => {
                    self.end(id, Ending::Reset(Cow::Borrowed(CLOSE_STREAM)));
                    self.tell_ending(id, primary);
                }
                Effect::RootDone(root) => self.delete_root(root),
            }
        }
    }

    fn resume(&mut self, id: StreamId, direction: Direction, primary: Option<StreamId>) {
        let stopped = self.state_mut().streams.get_mut(id).is_some_and(|stream| stream.half(direction).resume());
        if !stopped {
            return;
        }
        self.pump(id, direction);
        let what = match direction {
            Direction::Request => Woken::Request,
            Direction::Response => Woken::Response,
        };
        self.wakeups.push_back(Wakeup { stream: id, what });
        self.tell_ending(id, primary);
    }

    /// An ending that no caller is waiting to hear of becomes a wakeup.
    fn tell_ending(&mut self, id: StreamId, primary: Option<StreamId>) {
        if primary == Some(id) {
            return;
        }
        let Some(stream) = self.state_mut().streams.get_mut(id).filter(|stream| !stream.told) else { return };
        let what = match stream.ending.clone() {
            Some(Ending::Reply(details)) => Woken::LocalReply { details },
            Some(Ending::Reset(details)) => Woken::Reset { details },
            None => return,
        };
        stream.told = true;
        self.wakeups.push_back(Wakeup { stream: id, what });
    }

    /// Notes how a stream ends; the world has not heard of it yet.
    fn end(&mut self, id: StreamId, ending: Ending) {
        if let Some(stream) = self.state_mut().streams.get_mut(id) {
            stream.ending = Some(ending);
            stream.told = false;
        }
    }

    /// Puts a local reply into the response direction:
    ///
    /// - no response yet: the reply is the response, and the guest's own response callbacks see it;
    /// - a response that the guest still holds: the reply replaces it, unseen by the guest;
    /// - a response that has begun to leave: nothing can be replaced, the stream is cut off. But the second of two replies
    ///   is simply dropped: the first wins.
    fn reply(&mut self, id: StreamId, reply: LocalReply) {
        let Some(stream) = self.state_mut().streams.get_mut(id) else { return };
        let details = reply.details.clone();
        let answered = matches!(stream.ending, Some(Ending::Reply(_)));
        match (&stream.ending, stream.response.head_left()) {
            (Some(Ending::Reset(_)), _) | (Some(Ending::Reply(_)), true) => return,
            (None, true) => return self.end(id, Ending::Reset(details)),
            (_, false) => {}
        }
        let (headers, body) = reply.into_response(&stream.request.headers);
        if answered || stream.response.head != Progress::Absent {
            stream.response.replace(headers, body);
            return self.end(id, Ending::Reply(details));
        }
        stream.response.head_in(headers, body.is_empty());
        if !body.is_empty() {
            stream.response.body_in(body, true);
        }
        self.end(id, Ending::Reply(details));
        self.pump(id, Direction::Response);
    }

    /// The 503 of a dead guest, which no callback sees; a response that has begun to leave is cut off.
    pub(crate) fn fail(&mut self, id: StreamId) {
        let Some(stream) = self.state_mut().streams.get_mut(id) else { return };
        if stream.response.head_left() {
            return self.end(id, Ending::Reset(Cow::Borrowed(FAIL_STREAM)));
        }
        let (headers, body) = LocalReply::fail_stream().into_response(&stream.request.headers);
        stream.response.replace(headers, body);
        self.end(id, Ending::Reply(Cow::Borrowed(FAIL_STREAM)));
    }
}
