//! Between whoever sends and his filter: a request comes in, its answer goes out, once.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use host_abi::{Flow, HeaderMap, LocalReply, StreamId};
use upstream::{Endpoint, Flags, Timestamp, arrival};

use crate::chance::Chance;
use crate::engine::Engine;
use crate::engine::observe::{AttemptEnd, Cause, Ended, Given, Observer, RequestSpec};
use crate::engine::queue::What;
use crate::engine::sender::Sender;
use crate::engine::slab::Key;
use crate::engine::world::Connection;
use crate::engine::{CLIENTS, Place};

/// A stream that the guest holds for so long is given up, as by Envoy's stream idle timeout.
const IDLE: Duration = Duration::from_secs(300);

/// Who waits for the end of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    /// A client, outside of the engine.
    Client,
    /// A service: its task, and which of its calls it is.
    Service { task: Key, call: usize },
}

/// Who sends a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'h> {
    /// The far end of his connection.
    pub(crate) address: SocketAddr,
    /// What he sends beside the headers that all requests of the kind have.
    pub(crate) headers: Option<&'h HeaderMap>,
}

impl Caller<'_> {
    /// Somebody on the same machine, who adds nothing: a test, or a service whose proxy stands beside it.
    pub(crate) const NEIGHBOUR: Self =
        Self { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 50_000), headers: None };
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(super) cause: Cause,
    owner: Owner,
    /// Whose proxy it passes.
    pub(super) sender: Place,
    pub(super) stream: StreamId,
    /// The far end of its connection.
    pub(super) remote: SocketAddr,
    /// Who it is from.
    pub(super) client: IpAddr,
    pub(super) begun: Timestamp,
    /// What the filter has let go of the request body.
    pub(super) body: Bytes,
    /// The filter has let go of the whole request.
    pub(super) whole: bool,
    /// The exchange with the upstreams, once there is one.
    pub(super) primary: Option<Key>,
    /// The cluster that the filter named, where there is no exchange to ask (any more).
    pub(super) cluster: Option<String>,
    /// Attempts of an exchange that is no more.
    attempts: u32,
    /// The attempt whose answer is being passed on.
    pub(super) origin: Option<u64>,
    pub(super) details: Cow<'static, str>,
    pub(super) flags: Flags,
    /// A response has been handed to the filter.
    responding: bool,
    /// What the filter has let go of the response body.
    answer: Bytes,
    /// What has not come yet of the response body.
    rest: Option<Bytes>,
    /// HEAD: the answer has no body.
    bodiless: bool,
    /// Which time it is that the guest holds the stream; odd while it does.
    hold: u32,
}

impl Flight {
    pub(super) fn waits_for_body(&self) -> bool {
        self.rest.is_some()
    }

    pub(super) fn is_held(&self, hold: u32) -> bool {
        self.hold == hold
    }
}

impl Engine {
    /// A client sends a request, now. `request` numbers it; no two may be under way with the same number.
    pub(crate) fn begin(&mut self, request: u64, spec: &RequestSpec, caller: Caller<'_>, observer: &mut impl Observer) {
        self.set_off(CLIENTS, Owner::Client, Cause::of_client(request), spec, caller, observer);
        self.settle(CLIENTS, observer);
    }

    /// Somebody sends a request, now. `None`: it is over already.
    pub(super) fn set_off(
        &mut self,
        sender: Place,
        owner: Owner,
        cause: Cause,
        spec: &RequestSpec,
        caller: Caller<'_>,
        observer: &mut impl Observer,
    ) -> Option<Key> {
        let Caller { address: remote, headers: more } = caller;
        self.check.begun(cause);
        let path = match self.admit(spec) {
            Ok(path) => path,
            Err(reply) => {
                self.refuse(owner, cause, spec, &reply, observer);
                return None;
            }
        };
        let mut head = self.spare_map();
        let own = self.senders.get_mut(sender)?;
        let stream = own.vm.open_stream();
        head.extend(spec.head.iter());
        if let Cow::Owned(path) = path {
            head.set(":path", path);
        }
        for (name, value) in more.into_iter().flat_map(HeaderMap::iter) {
            head.append(name, value);
        }
        let client = upstream::client_address(head.get("x-forwarded-for"), remote);
        let connection = Connection { over_http2: spec.over_http2, client, attempts: 0 };
        own.vm.host_mut().connections.insert(stream, connection);
        if !spec.has_id && head.get("x-request-id").is_none_or(<[u8]>::is_empty) {
            head.append("x-request-id", request_id(&mut own.request_ids));
        }
        let flight = self.flights.insert(Flight {
            cause,
            owner,
            sender,
            stream,
            remote,
            client: client.ip(),
            begun: self.now,
            body: Bytes::new(),
            whole: false,
            primary: None,
            cluster: None,
            attempts: 0,
            origin: None,
            details: Cow::Borrowed(""),
            flags: Flags::NONE,
            responding: false,
            answer: Bytes::new(),
            rest: None,
            bodiless: spec.head.get(":method") == Some(b"HEAD"),
            hold: 0,
        });
        if let Some(timeout) = spec.timeout {
            self.queue.push(self.now.after(timeout), What::GiveUp(flight));
        }
        let vm = &mut self.senders.get_mut(sender)?.vm;
        let mut flow = vm.request_headers(stream, head, spec.body.is_empty());
        if !spec.body.is_empty() && matches!(flow, Flow::Continue | Flow::Pause) {
            flow = vm.request_body(stream, spec.body.clone(), true);
        }
        self.flow(flight, flow, observer);
        self.flights.get(flight).map(|_| flight)
    }

    /// The request target as the filter shall see it.
    fn admit<'t>(&self, spec: &'t RequestSpec) -> Result<Cow<'t, [u8]>, upstream::LocalReply> {
        let pseudo = |name: &str| spec.head.get(name).unwrap_or_default();
        if !spec.over_http2 && !arrival::is_method_of_http1(pseudo(":method")) {
            return Err(upstream::LocalReply::INVALID_REQUEST);
        }
        arrival::admit(pseudo(":method"), pseudo(":authority"), pseudo(":path"), self.path_normalization)
    }

    /// Answers a request that no filter is to see.
    fn refuse(
        &mut self,
        owner: Owner,
        cause: Cause,
        spec: &RequestSpec,
        reply: &upstream::LocalReply,
        observer: &mut impl Observer,
    ) {
        let answer = LocalReply::new(reply.status.into(), reply.body, reply.details);
        let (head, body) = answer.into_response(&spec.head);
        self.check.given(cause, None);
        let caller = self.caller(owner);
        observer.given(&Given {
            cause,
            caller: caller.as_deref(),
            ended: Ended::Answered,
            status: Some(reply.status),
            headers: &head,
            body: &body,
            details: reply.details,
            flags: reply.flags,
            cluster: None,
            attempts: 0,
            begun: self.now,
            at: self.now,
        });
        self.tell(owner, reply.status < 500);
    }

    /// The endpoint of the service that sends; `None`: a client does.
    fn caller(&self, owner: Owner) -> Option<Rc<Endpoint>> {
        let Owner::Service { task, .. } = owner else { return None };
        self.tasks.get(task).map(|task| Rc::clone(&task.endpoint))
    }

    /// Whoever waits learns how it ended; clients hear it from the observer.
    fn tell(&mut self, owner: Owner, succeeded: bool) {
        if let Owner::Service { task, call } = owner {
            self.returned(task, call, succeeded);
        }
    }

    /// Does what the filter has decided.
    pub(super) fn flow(&mut self, key: Key, flow: Flow, observer: &mut impl Observer) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        if flight.hold % 2 == 1 {
            flight.hold = flight.hold.wrapping_add(1);
            if let Some(sender) = self.senders.get_mut(flight.sender) {
                sender.held.remove(&flight.stream);
            }
        }
        match flow {
            Flow::Continue => {
                self.pass_request(key, observer);
                self.pass_response(key, observer);
            }
            Flow::Pause => {
                // What the filter let go before it stopped goes on.
                self.pass_request(key, observer);
                self.pass_response(key, observer);
                self.hold(key);
            }
            Flow::LocalReply { details } => {
                flight.details = details;
                flight.responding = true;
                flight.rest = None;
                flight.origin = None;
                if let Some(primary) = flight.primary.take() {
                    if let Some(job) = self.jobs.get(primary) {
                        flight.cluster = Some(job.exchange.cluster().to_owned());
                        flight.attempts = job.exchange.attempts();
                    }
                    self.drop_job(primary, AttemptEnd::Abandoned, observer);
                }
                self.pass_response(key, observer);
            }
            Flow::Reset { details } => {
                flight.details = details;
                self.end(key, Ended::Reset, observer);
            }
        }
    }

    fn hold(&mut self, key: Key) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.hold = flight.hold.wrapping_add(1);
        if let Some(sender) = self.senders.get_mut(flight.sender) {
            sender.held.insert(flight.stream, key);
        }
        self.queue.push(self.now.after(IDLE), What::Idle { flight: key, hold: flight.hold });
    }

    /// The guest has held the stream for too long.
    pub(super) fn idle(&mut self, key: Key, observer: &mut impl Observer) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        if flight.responding {
            flight.details = Cow::Borrowed("stream_idle_timeout");
            return self.end(key, Ended::Reset, observer);
        }
        self.answer(key, LocalReply::new(504, "stream timeout", "stream_idle_timeout"), observer);
    }

    fn pass_request(&mut self, key: Key, observer: &mut impl Observer) {
        let Some(flight) = self.flights.get_mut(key).filter(|flight| !flight.whole) else { return };
        let sender = self.senders.get_mut(flight.sender);
        let Some(part) = sender.and_then(|sender| sender.vm.take_request(flight.stream)) else { return };
        join(&mut flight.body, part.body);
        flight.whole = part.end;
        if part.headers.is_some() {
            self.forward(key, observer);
        } else if part.end {
            self.received(key, observer);
        }
    }

    fn pass_response(&mut self, key: Key, observer: &mut impl Observer) {
        let Some(flight) = self.flights.get_mut(key).filter(|flight| flight.responding) else { return };
        let sender = self.senders.get_mut(flight.sender);
        let Some(part) = sender.and_then(|sender| sender.vm.take_response(flight.stream)) else { return };
        let end = part.end;
        join(&mut flight.answer, part.body);
        if end {
            self.end(key, Ended::Answered, observer);
        }
    }

    /// The proxy answers by itself.
    pub(super) fn answer(&mut self, key: Key, reply: LocalReply, observer: &mut impl Observer) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.details = reply.details.clone();
        let sender = self.senders.get(flight.sender);
        let Some(request) = sender.and_then(|sender| sender.vm.request(flight.stream)) else { return };
        let (head, body) = reply.into_response(request);
        self.respond(key, head, body, observer);
    }

    /// A response comes for the client, by way of the filter.
    pub(super) fn respond(&mut self, key: Key, head: HeaderMap, body: Bytes, observer: &mut impl Observer) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.responding = true;
        let (stream, body) = (flight.stream, if flight.bodiless { Bytes::new() } else { body });
        let Some(Sender { vm, .. }) = self.senders.get_mut(flight.sender) else { return };
        let mut flow = vm.response_headers(stream, head, body.is_empty());
        if !body.is_empty() && matches!(flow, Flow::Continue | Flow::Pause) {
            flow = vm.response_body(stream, body, true);
        }
        self.flow(key, flow, observer);
    }

    /// The head of a response comes, and its body only after this time.
    pub(super) fn respond_slowly(
        &mut self,
        key: Key,
        head: HeaderMap,
        body: Bytes,
        takes: Duration,
        observer: &mut impl Observer,
    ) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        if flight.bodiless || takes.is_zero() {
            return self.respond(key, head, body, observer);
        }
        (flight.responding, flight.rest) = (true, Some(body));
        let Some(Sender { vm, .. }) = self.senders.get_mut(flight.sender) else { return };
        let flow = vm.response_headers(flight.stream, head, false);
        self.queue.push(self.now.after(takes), What::Body(key));
        self.flow(key, flow, observer);
    }

    /// The body of the response comes.
    pub(super) fn body(&mut self, key: Key, observer: &mut impl Observer) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let Some(body) = flight.rest.take() else { return };
        let Some(Sender { vm, .. }) = self.senders.get_mut(flight.sender) else { return };
        let flow = vm.response_body(flight.stream, body, true);
        self.flow(key, flow, observer);
    }

    /// The request is over for the client.
    pub(super) fn end(&mut self, key: Key, ended: Ended, observer: &mut impl Observer) {
        let Some(flight) = self.flights.remove(key) else { return };
        let caller = self.caller(flight.owner);
        let Some(sender) = self.senders.get_mut(flight.sender) else { return };
        if flight.hold % 2 == 1 {
            sender.held.remove(&flight.stream);
        }
        let exchange = flight.primary.and_then(|primary| self.jobs.get(primary)).map(|job| &job.exchange);
        let none = HeaderMap::new();
        let headers = match ended {
            Ended::Answered => sender.vm.response(flight.stream).unwrap_or(&none),
            Ended::Reset | Ended::GaveUp | Ended::Waiting => &none,
        };
        self.check.given(flight.cause, flight.origin.filter(|_| ended == Ended::Answered));
        let status = headers.get_str(":status").and_then(|status| status.parse().ok());
        observer.given(&Given {
            cause: flight.cause,
            caller: caller.as_deref(),
            ended,
            status,
            headers,
            body: &flight.answer,
            details: &flight.details,
            flags: flight.flags,
            cluster: exchange.map_or(flight.cluster.as_deref(), |exchange| Some(exchange.cluster())),
            attempts: exchange.map_or(flight.attempts, upstream::Exchange::attempts),
            begun: flight.begun,
            at: self.now,
        });
        if let Some(primary) = flight.primary {
            let end = if ended == Ended::Waiting { AttemptEnd::Waiting } else { AttemptEnd::Abandoned };
            self.drop_job(primary, end, observer);
        }
        let Some(sender) = self.senders.get_mut(flight.sender) else { return };
        sender.vm.host_mut().connections.remove(&flight.stream);
        if let Some(closed) = sender.vm.close_stream(flight.stream) {
            self.keep_map(closed.request);
            self.keep_map(closed.response);
        }
        self.notice_crash(flight.sender, Some((flight.stream, flight.cause)));
        self.tell(flight.owner, ended == Ended::Answered && status.is_some_and(|status: u16| status < 500));
    }
}

/// A random UUID (version 4).
fn request_id(chance: &mut Chance) -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let (high, low) = (chance.draw(), chance.draw());
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0xc << 60) | 0x8 << 60;
    let mut bits = (u128::from(high) << 64) | u128::from(low);
    let mut text = [b'-'; 36];
    for (place, digit) in text.iter_mut().enumerate() {
        if !matches!(place, 8 | 13 | 18 | 23) {
            *digit = HEX.get((bits >> 124) as usize).copied().unwrap_or(b'0');
            bits <<= 4;
        }
    }
    text
}

/// Adds a part to a body; the first part is taken as it is.
fn join(body: &mut Bytes, part: Bytes) {
    if body.is_empty() {
        *body = part;
    } else if !part.is_empty() {
        let mut joined = BytesMut::from(&**body);
        joined.extend_from_slice(&part);
        *body = joined.freeze();
    }
}
