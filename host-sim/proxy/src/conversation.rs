//! One request of a client from its head to the end of its answer: between the client, the filter and the journey to the
//! upstream. Whatever arrives anywhere is told to the filter, and what the filter lets go is passed on.
//!
//! There is no task for it: the connection asks for the answer's head, then for its body, and each time everything goes
//! on as far as it can. So a client that reads slowly holds back what the upstream sends, and a client that goes away
//! drops the conversation and all that belongs to it.

use crate::feed::{Tap, Upload};
use crate::framing::{self, Unframed};
use crate::headers::{self, Invalid};
use crate::journey::{Journey, News};
use crate::request_head::{self, Outgoing};
use crate::settings::Side;
use crate::shadows;
use crate::stats::Outcome;
use crate::worker::{Outside, Worker};
use crate::world::{Line, World};
use bytes::Bytes;
use envoy_plan::APP_CLUSTER;
use host_abi::{Flow, HeaderMap, StreamId, Vm, Woken};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode, Version};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;
use upstream::{Ask, Begun, Fault, Flags, LocalReply, Source, Timestamp, client_address};

/// Bytes of an answer that may wait for the client before no more is read from the upstream.
const WAITING_BYTES: usize = 64 * 1024;

/// The answer cannot be finished: the connection is closed, or the stream reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream was cut off")]
pub(crate) struct CutOff;

/// The body of an answer, and with it the rest of the conversation.
pub(crate) struct ResponseBody(Content);

enum Content {
    Conversation(Box<Conversation>),
    Text(Option<&'static str>),
}

impl ResponseBody {
    fn text(text: &'static str) -> Self {
        ResponseBody(Content::Text((!text.is_empty()).then_some(text)))
    }
}

/// Answers a request.
///
/// # Errors
///
/// [`CutOff`] if there will be no answer.
pub(crate) async fn answer(
    worker: Rc<Worker>,
    request: Request<Incoming>,
    peer: SocketAddr,
    local: SocketAddr,
) -> Result<Response<ResponseBody>, CutOff> {
    let (parts, body) = request.into_parts();
    let outside = &worker.outside;
    if let Err(Unframed { status, body }) = framing::check(&parts) {
        outside.stats.ended(&Outcome { status, ..Outcome::default() }, std::time::Duration::ZERO);
        let mut response = plain(status, body);
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return Ok(response);
    }
    let head = match request_head::for_guest(&parts, outside) {
        Ok(head) => head,
        Err(LocalReply { status, body, .. }) => {
            let outcome = Outcome { status, ..Outcome::default() };
            outside.stats.ended(&outcome, std::time::Duration::ZERO);
            return Ok(plain(status, body));
        }
    };
    let protocol = match parts.version {
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    };
    drop(parts);
    let from = client_address(head.get("x-forwarded-for"), peer);
    let attempts = Cell::default();
    let line = Line { wakeups: RefCell::default(), waker: Cell::default(), peer, local, from, protocol, attempts };
    let mut conversation = Box::new(Conversation::open(worker, Rc::new(line), head, body));
    let head = poll_fn(|cx| conversation.poll_head(cx)).await?;
    Ok(head.map(|()| ResponseBody(Content::Conversation(conversation))))
}

/// An answer that the filter has no part in.
fn plain(status: u16, text: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::text(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    if !text.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    response
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        match &mut self.0 {
            Content::Conversation(conversation) => conversation.poll_frame(cx),
            Content::Text(text) => {
                Poll::Ready(text.take().map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Conversation(conversation) => conversation.out.is_empty() && conversation.ended == Some(Ok(())),
            Content::Text(text) => text.is_none(),
        }
    }
}

/// What the filter lets go after a call.
struct Taken {
    flow: Flow,
    /// The request head has left the filter: where it goes, or the answer instead.
    departure: Option<Result<Departure, LocalReply>>,
    /// It leaves after so long instead.
    delayed: Option<(Duration, HeaderMap, bool)>,
    request: Part,
    head: Option<Result<Response<()>, Invalid>>,
    response: Part,
}

/// Pieces of one direction.
#[derive(Default)]
struct Part {
    data: Bytes,
    trailers: Option<hyper::HeaderMap>,
    end: bool,
}

/// A request that an injected delay holds up.
struct Delayed {
    headers: HeaderMap,
    /// The head is the whole request.
    whole: bool,
    /// What the filter let go together with the head.
    part: Part,
}

struct Departure {
    begun: Begun,
    outgoing: Outgoing,
    /// The head is the whole request.
    whole: bool,
}

struct Conversation {
    worker: Rc<Worker>,
    line: Rc<Line>,
    stream: StreamId,
    /// The request body; `None` once it has been read to its end.
    inbound: Option<Incoming>,
    journey: Option<Journey>,
    /// The journey has nothing more to tell.
    arrived: bool,
    /// An injected delay, and what sets out when it is over.
    delayed: Option<(Pin<Box<Sleep>>, Delayed)>,
    /// The bodies of copies.
    taps: Vec<Tap>,
    /// An answer is there, from an upstream or made here.
    answered: bool,
    /// The answer that the filter was given has come to its end.
    told_end: bool,
    head: Option<Response<()>>,
    head_left: bool,
    out: VecDeque<Frame<Bytes>>,
    out_bytes: usize,
    ended: Option<Result<(), CutOff>>,
    closed: bool,
    begun: Timestamp,
    active: Timestamp,
    idle: Option<Pin<Box<Sleep>>>,
    outcome: Outcome,
}

impl Conversation {
    fn open(worker: Rc<Worker>, line: Rc<Line>, head: HeaderMap, body: Incoming) -> Self {
        let whole = body.is_end_stream();
        let now = worker.outside.clock.now();
        worker.outside.stats.requests.enter();
        let stream = worker.guest.open(Rc::clone(&line));
        let mut conversation = Conversation {
            worker,
            line,
            stream,
            inbound: (!whole).then_some(body),
            journey: None,
            arrived: false,
            delayed: None,
            taps: Vec::new(),
            answered: false,
            told_end: false,
            head: None,
            head_left: false,
            out: VecDeque::new(),
            out_bytes: 0,
            ended: None,
            closed: false,
            begun: now,
            active: now,
            idle: None,
            outcome: Outcome::default(),
        };
        conversation.feed(|vm, stream| vm.request_headers(stream, head, whole));
        conversation
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, CutOff>> {
        let ended = self.poll(cx);
        if let Some(head) = self.head.take() {
            self.head_left = true;
            return Poll::Ready(Ok(head));
        }
        // An end without a head is no answer.
        ended.map(|_| Err(CutOff))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let ended = self.poll(cx);
        if let Some(frame) = self.out.pop_front() {
            self.out_bytes -= frame.data_ref().map_or(0, Bytes::len);
            return Poll::Ready(Some(Ok(frame)));
        }
        ended.map(|ended| ended.err().map(Err))
    }

    /// Goes on as far as possible.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CutOff>> {
        loop {
            if let Some(ended) = self.ended {
                return Poll::Ready(ended);
            }
            let moved = self.poll_delay(cx).is_ready()
                || self.poll_line(cx).is_ready()
                || self.poll_journey(cx).is_ready()
                || self.poll_inbound(cx).is_ready();
            if moved {
                self.active = self.worker.outside.clock.now();
            } else if self.poll_idle(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// An injected delay. While it lasts nothing is read from the client, and no limit counts.
    fn poll_delay(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((sleep, _)) = &mut self.delayed else { return Poll::Pending };
        ready!(sleep.as_mut().poll(cx));
        if let Some((_, Delayed { headers, whole, part })) = self.delayed.take() {
            match depart(&self.worker.outside, &self.line, &headers, whole) {
                Ok(departure) => {
                    self.depart(departure);
                    self.send(part);
                }
                Err(reply) => self.reply(reply),
            }
        }
        Poll::Ready(())
    }

    /// What the filter did to this stream from elsewhere.
    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let woken = self.line.wakeups.borrow_mut().pop_front();
        let Some(woken) = woken else {
            self.line.waker.set(Some(cx.waker().clone()));
            return Poll::Pending;
        };
        let flow = match woken {
            Woken::Request | Woken::Response => Flow::Continue,
            Woken::LocalReply { details } => Flow::LocalReply { details },
            Woken::Reset { details } => Flow::Reset { details },
        };
        self.feed(|_, _| flow);
        Poll::Ready(())
    }

    /// What comes from the upstream.
    fn poll_journey(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.arrived {
            return Poll::Pending;
        }
        let wanted = self.out_bytes < WAITING_BYTES && !self.holds_too_much(|(_, response)| response);
        let Some(journey) = &mut self.journey else { return Poll::Pending };
        match ready!(journey.poll(cx, wanted)) {
            News::Answer { head, end, flags } => {
                self.line.attempts.set(journey.attempts());
                self.note(flags);
                self.answered = true;
                self.told_end = end;
                let head = headers::response_for_guest(&head);
                self.feed(|vm, stream| vm.response_headers(stream, head, end));
            }
            News::Data(data) => self.feed(|vm, stream| vm.response_body(stream, data, false)),
            News::End { trailers } => {
                self.arrived = true;
                if self.told_end {
                    return Poll::Ready(());
                }
                self.told_end = true;
                match trailers {
                    Some(trailers) => {
                        let trailers = headers::trailers_for_guest(&trailers);
                        self.feed(|vm, stream| vm.response_trailers(stream, trailers));
                    }
                    None => self.feed(|vm, stream| vm.response_body(stream, Bytes::new(), true)),
                }
            }
            News::Reply(reply) => self.reply(reply),
            News::Broken { flags } => {
                self.note(flags);
                self.cut_off();
            }
        }
        Poll::Ready(())
    }

    /// What comes from the client.
    fn poll_inbound(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.journey {
            _ if self.inbound.is_none() || self.arrived || self.delayed.is_some() => return Poll::Pending,
            Some(journey) => ready!(journey.poll_room(cx)),
            // The filter holds the head: what it may hold is limited, and then the client waits.
            None if self.answered || self.holds_too_much(|(request, _)| request) => return Poll::Pending,
            None => {}
        }
        let Some(body) = &mut self.inbound else { return Poll::Pending };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        let over = body.is_end_stream();
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.feed(|vm, stream| vm.request_body(stream, data, false));
                    if over {
                        self.inbound_end();
                    }
                    // The head is on its way and the filter collects the body: there is no waiting for it to end that.
                    if self.journey.is_some() && self.holds_too_much(|(request, _)| request) {
                        self.reply(local(413, "Payload Too Large", "request_payload_too_large"));
                    }
                }
                Err(frame) => {
                    self.inbound = None;
                    let trailers = frame.into_trailers().unwrap_or_default();
                    let trailers = headers::trailers_for_guest(&trailers);
                    self.feed(|vm, stream| vm.request_trailers(stream, trailers));
                }
            },
            Some(Err(_)) => {
                self.outcome.client_gone = true;
                self.cut_off();
            }
            None => self.inbound_end(),
        }
        Poll::Ready(())
    }

    fn inbound_end(&mut self) {
        if self.inbound.take().is_some() {
            self.feed(|vm, stream| vm.request_body(stream, Bytes::new(), true));
        }
    }

    /// Whether the filter holds more than it may, in the direction that `pick` picks.
    fn holds_too_much(&self, pick: fn((usize, usize)) -> usize) -> bool {
        let held = self.worker.guest.held_bytes(self.stream);
        pick(held) > self.worker.outside.limits.buffer_bytes
    }

    /// Gives up when nothing has happened for too long. Ready when it did, or when the timer was set anew.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let outside = &self.worker.outside;
        let until = self.active.after(outside.limits.stream_idle_timeout);
        let at = outside.clock.instant(until);
        let sleep = self.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        ready!(sleep.as_mut().poll(cx));
        if outside.clock.now() < until {
            sleep.as_mut().reset(at);
            return Poll::Ready(());
        }
        self.idle = None;
        self.active = outside.clock.now();
        match self.answered {
            true => self.cut_off(),
            // Envoy: the client's fault while its request is not whole, the upstream's after that.
            false => {
                let status = if self.inbound.is_some() { 408 } else { 504 };
                self.reply(local(status, "stream timeout", "stream_idle_timeout"));
            }
        }
        Poll::Ready(())
    }

    /// Calls the filter and passes on what it lets go.
    fn feed(&mut self, work: impl FnOnce(&mut Vm<World>, StreamId) -> Flow) {
        if self.ended.is_some() {
            return;
        }
        let (stream, worker, line) = (self.stream, &self.worker, &self.line);
        let taken = worker.guest.with(|vm| {
            let flow = work(vm, stream);
            take(vm, stream, flow, &worker.outside, line)
        });
        self.pass_on(taken);
    }

    fn pass_on(&mut self, taken: Taken) {
        let Taken { flow, departure, delayed, request, head, response } = taken;
        match flow {
            Flow::Reset { .. } => return self.cut_off(),
            Flow::LocalReply { .. } => self.turn_back(),
            Flow::Continue | Flow::Pause => {
                if let Some(departure) = departure {
                    match departure {
                        Ok(departure) => self.depart(departure),
                        Err(reply) => return self.reply(reply),
                    }
                }
                match delayed {
                    Some((delay, headers, whole)) => {
                        let sleep = tokio::time::sleep(delay);
                        self.delayed = Some((Box::pin(sleep), Delayed { headers, whole, part: request }));
                    }
                    None => self.send(request),
                }
            }
        }
        match head {
            Some(Ok(head)) => {
                self.outcome.status = head.status().as_u16();
                self.head = Some(head);
            }
            Some(Err(Invalid)) => {
                // Envoy would write it, or answer so when there is no status.
                self.outcome.status = 502;
                self.head = Some(plain(502, "").map(drop));
                self.turn_back();
                return self.finish(Ok(()));
            }
            None => {}
        }
        if !response.data.is_empty() {
            self.out_bytes += response.data.len();
            self.out.push_back(Frame::data(response.data));
        }
        if let Some(trailers) = response.trailers {
            self.out.push_back(Frame::trailers(trailers));
        }
        if response.end {
            self.finish(Ok(()));
        }
    }

    /// The request sets out, and its copies beside it.
    fn depart(&mut self, departure: Departure) {
        let Departure { begun: Begun { exchange, step, shadows }, outgoing, whole } = departure;
        let outside = &self.worker.outside;
        let outgoing = Rc::new(outgoing);
        self.taps.extend(shadows.into_iter().filter_map(|shadow| shadows::send(outside, shadow, &outgoing, whole)));
        let upload = Upload::new(whole, exchange.may_repeat(), outside.limits.buffer_bytes);
        self.journey = Some(Journey::begin(Rc::clone(outside), exchange, step, outgoing, upload));
    }

    /// Passes on what the filter let go of the request body.
    fn send(&mut self, part: Part) {
        let Part { data, trailers, end } = part;
        let Some(journey) = self.journey.as_mut() else { return };
        if !data.is_empty() {
            let stats = &self.worker.outside.stats;
            self.taps.retain(|tap| {
                let goes_on = tap.push(data.clone());
                if !goes_on {
                    stats.shadows_dropped.set(stats.shadows_dropped.get() + 1);
                }
                goes_on
            });
            journey.push(data);
        }
        if end && !journey.is_whole() {
            for tap in self.taps.drain(..) {
                tap.end(trailers.clone());
            }
            journey.end(trailers);
        }
    }

    /// Answers in place of an upstream; the filter sees it like any answer.
    fn reply(&mut self, reply: LocalReply) {
        self.line.attempts.set(self.journey.as_ref().map_or(0, Journey::attempts));
        self.note(reply.flags);
        self.turn_back();
        self.told_end = true;
        let LocalReply { status, body, flags: _, details, headers, grpc_status } = reply;
        let mut reply = host_abi::LocalReply::new(status.into(), body, details);
        reply.headers.extend(headers.iter().copied());
        reply.grpc_status = grpc_status.map(u32::from);
        self.feed(|vm, stream| {
            let (head, body) = reply.into_response(vm.request(stream).unwrap_or(&HeaderMap::new()));
            let end = body.is_empty();
            let flow = vm.response_headers(stream, head, end);
            if end || matches!(flow, Flow::LocalReply { .. } | Flow::Reset { .. }) {
                return flow;
            }
            vm.response_body(stream, body, true)
        });
    }

    /// The request goes no further.
    fn turn_back(&mut self) {
        self.answered = true;
        self.note_endpoint();
        self.journey = None;
        self.taps.clear();
    }

    fn cut_off(&mut self) {
        self.turn_back();
        self.finish(Err(CutOff));
    }

    fn finish(&mut self, ended: Result<(), CutOff>) {
        if self.ended.is_none() {
            self.ended = Some(ended);
            self.close();
        }
    }

    fn note(&mut self, flags: Flags) {
        self.outcome.flags = self.outcome.flags.with(flags);
    }

    fn note_endpoint(&mut self) {
        if let Some(journey) = &self.journey {
            self.outcome.endpoint = journey.endpoint().map(Rc::clone);
        }
    }

    /// Lets go of everything, once.
    fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.note_endpoint();
        self.journey = None;
        self.taps.clear();
        self.inbound = None;
        self.worker.guest.close(self.stream);
        let outside = &self.worker.outside;
        outside.stats.requests.leave();
        outside.stats.ended(&self.outcome, outside.clock.now().since(self.begun));
    }
}

impl Drop for Conversation {
    /// Not over yet: the client has gone away.
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.outcome.client_gone = true;
            if !self.head_left {
                self.outcome.status = 0;
            }
        }
        self.close();
    }
}

/// An answer of this crate's own.
pub(crate) fn local(status: u16, body: &'static str, details: &'static str) -> LocalReply {
    LocalReply { status, body, flags: Flags::NONE, details, headers: &[], grpc_status: None }
}

/// Takes what may go on in both directions.
fn take(vm: &mut Vm<World>, stream: StreamId, flow: Flow, outside: &Outside, line: &Line) -> Taken {
    let mut taken =
        Taken { flow, departure: None, delayed: None, request: Part::default(), head: None, response: Part::default() };
    if let Some(part) = vm.take_request(stream) {
        let whole = part.end && part.body.is_empty() && part.trailers.is_none();
        if let Some(headers) = part.headers {
            match Fault::read(headers.iter()).delay.filter(|_| outside.side == Side::Outbound) {
                Some(delay) => taken.delayed = Some((delay, headers.clone(), whole)),
                None => taken.departure = Some(depart(outside, line, headers, whole)),
            }
        }
        let trailers = part.trailers.map(headers::trailers_from_guest);
        taken.request = Part { data: part.body, trailers, end: part.end };
    }
    if let Some(part) = vm.take_response(stream) {
        taken.head = part.headers.map(headers::response_from_guest);
        let trailers = part.trailers.map(headers::trailers_from_guest);
        taken.response = Part { data: part.body, trailers, end: part.end };
    }
    taken
}

/// Finds out where a request goes.
fn depart(outside: &Outside, line: &Line, headers: &HeaderMap, whole: bool) -> Result<Departure, LocalReply> {
    // What Envoy says of a header that cannot be written.
    let outgoing = Outgoing::from_guest(headers).map_err(|Invalid| local(503, "", "invalid_header_value"))?;
    let inbound = outside.side == Side::Inbound;
    if let Some(reply) = Fault::read(headers.iter()).abort.filter(|_| !inbound) {
        return Err(reply);
    }
    let source = Source {
        headers: &|visit| headers.iter().for_each(|(name, value)| visit(name, value)),
        client: line.from.ip(),
        remote: line.peer,
        local: line.local,
    };
    let asked = Ask { source: Some(&source), ..Ask::read(headers.iter(), whole) };
    // There is one place to go to, and nobody to choose it.
    let ask = if inbound { Ask { cluster: Some(APP_CLUSTER.as_bytes()), profile: None, ..asked } } else { asked };
    let begun = outside.upstreams.borrow().begin(&ask, outside.clock.now(), &mut &outside.random)?;
    Ok(Departure { begun, outgoing, whole })
}
