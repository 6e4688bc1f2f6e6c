//! Between client and filter: a request comes in, its answer goes out, once.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use host_abi::{Flow, HeaderMap, LocalReply, StreamId};
use upstream::{Flags, Timestamp, arrival};

use crate::engine::Engine;
use crate::engine::observe::{AttemptEnd, Ended, Given, Observer, RequestSpec};
use crate::engine::queue::What;
use crate::engine::slab::Key;

/// A stream that the guest holds for so long is given up, as by Envoy's stream idle timeout.
const IDLE: Duration = Duration::from_secs(300);

/// A client's request on its way.
#[derive(Debug)]
pub(crate) struct Flight {
    /// As the client numbered it.
    pub(super) request: u64,
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
    /// HEAD: the answer has no body.
    bodiless: bool,
    /// Which time it is that the guest holds the stream; odd while it does.
    hold: u32,
}

impl Flight {
    pub(super) fn is_held(&self, hold: u32) -> bool {
        self.hold == hold
    }
}

impl Engine {
    /// A client sends a request, now, from this address. `request` numbers it; no two may be under way with the same number.
    pub(crate) fn begin(&mut self, request: u64, spec: &RequestSpec, remote: SocketAddr, observer: &mut impl Observer) {
        self.check.begun(request);
        let path = match self.admit(spec) {
            Ok(path) => path,
            Err(reply) => return self.refuse(request, spec, &reply, observer),
        };
        let stream = self.vm.open_stream();
        if spec.over_http2 {
            self.vm.host_mut().over_http2.insert(stream);
        }
        let mut head = self.spare_map();
        head.extend(spec.head.iter());
        if let Cow::Owned(path) = path {
            head.set(":path", path);
        }
        if !spec.has_id {
            head.append("x-request-id", self.request_id());
        }
        let flight = self.flights.insert(Flight {
            request,
            stream,
            remote,
            client: upstream::client_address(spec.head.get("x-forwarded-for"), remote.ip()),
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
            bodiless: spec.head.get(":method") == Some(b"HEAD"),
            hold: 0,
        });
        if let Some(timeout) = spec.timeout {
            self.queue.push(self.now.after(timeout), What::GiveUp(flight));
        }
        let mut flow = self.vm.request_headers(stream, head, spec.body.is_empty());
        if !spec.body.is_empty() && matches!(flow, Flow::Continue | Flow::Pause) {
            flow = self.vm.request_body(stream, spec.body.clone(), true);
        }
        self.flow(flight, flow, observer);
        self.settle(observer);
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
    fn refuse(&mut self, request: u64, spec: &RequestSpec, reply: &upstream::LocalReply, observer: &mut impl Observer) {
        let answer = LocalReply::new(reply.status.into(), reply.body, reply.details);
        let (head, body) = answer.into_response(&spec.head);
        self.check.given(request, None);
        observer.given(&Given {
            request,
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
    }

    /// Does what the filter has decided.
    pub(super) fn flow(&mut self, key: Key, flow: Flow, observer: &mut impl Observer) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        if flight.hold % 2 == 1 {
            flight.hold = flight.hold.wrapping_add(1);
            self.held.remove(&flight.stream);
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
        self.held.insert(flight.stream, key);
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
        let Some(part) = self.vm.take_request(flight.stream) else { return };
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
        let Some(part) = self.vm.take_response(flight.stream) else { return };
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
        let Some(request) = self.vm.request(flight.stream) else { return };
        let (head, body) = reply.into_response(request);
        self.respond(key, head, body, observer);
    }

    /// A response comes for the client, by way of the filter.
    pub(super) fn respond(&mut self, key: Key, head: HeaderMap, body: Bytes, observer: &mut impl Observer) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.responding = true;
        let (stream, body) = (flight.stream, if flight.bodiless { Bytes::new() } else { body });
        let mut flow = self.vm.response_headers(stream, head, body.is_empty());
        if !body.is_empty() && matches!(flow, Flow::Continue | Flow::Pause) {
            flow = self.vm.response_body(stream, body, true);
        }
        self.flow(key, flow, observer);
    }

    /// The request is over for the client.
    pub(super) fn end(&mut self, key: Key, ended: Ended, observer: &mut impl Observer) {
        let Some(flight) = self.flights.remove(key) else { return };
        if flight.hold % 2 == 1 {
            self.held.remove(&flight.stream);
        }
        let exchange = flight.primary.and_then(|primary| self.jobs.get(primary)).map(|job| &job.exchange);
        let none = HeaderMap::new();
        let headers = match ended {
            Ended::Answered => self.vm.response(flight.stream).unwrap_or(&none),
            Ended::Reset | Ended::GaveUp | Ended::Waiting => &none,
        };
        self.check.given(flight.request, flight.origin.filter(|_| ended == Ended::Answered));
        observer.given(&Given {
            request: flight.request,
            ended,
            status: headers.get_str(":status").and_then(|status| status.parse().ok()),
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
        if let Some(closed) = self.vm.close_stream(flight.stream) {
            self.keep_map(closed.request);
            self.keep_map(closed.response);
        }
        self.vm.host_mut().over_http2.remove(&flight.stream);
    }

    /// A random UUID (version 4), from the seed.
    fn request_id(&mut self) -> [u8; 36] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let (high, low) = (self.request_ids.draw(), self.request_ids.draw());
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
