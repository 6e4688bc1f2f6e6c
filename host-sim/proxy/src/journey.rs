//! One request on its way to upstreams: `upstream` decides, this does. It connects, sends, waits, backs off and sends
//! again, and hands out what is to be passed on. The client's request, its copies and the filter's own calls all travel so.

use crate::connections::{Sender, Sent, Target, failure};
use crate::feed::{Upload, UpstreamBody};
use crate::request_head::Outgoing;
use crate::worker::Outside;
use bytes::Bytes;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::header::{HeaderValue, SET_COOKIE};
use hyper::http::response;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::time::Sleep;
use upstream::{Answer, Attempt, Endpoint, Event, Exchange, Failure, Flags, LocalReply, Step, Timestamp};

/// What there is to pass on.
#[derive(Debug)]
pub(crate) enum News {
    /// The head of the answer that counts.
    Answer { head: Box<response::Parts>, end: bool, flags: Flags },
    /// A piece of its body.
    Data(Bytes),
    /// The end of its body.
    End { trailers: Option<hyper::HeaderMap> },
    /// No answer: this instead. Nothing comes after it.
    Reply(LocalReply),
    /// The answer cannot be finished. Nothing comes after it.
    Broken { flags: Flags },
}

/// How an attempt stands.
enum Stage {
    /// Backing off, or over.
    Away,
    Connecting {
        connecting: Pin<Box<dyn Future<Output = Result<Sender, Failure>>>>,
        load: Load,
    },
    Waiting {
        answer: Pin<Box<dyn Future<Output = Sent>>>,
        sender: Sender,
    },
    Answering {
        body: Incoming,
        sender: Sender,
    },
}

/// What an attempt is to send.
enum Load {
    Body(UpstreamBody),
    /// Tried on a kept connection, of which nothing was left to write to.
    Request(Box<Request<UpstreamBody>>),
}

/// The journey. Dropped, it takes its attempt with it.
pub(crate) struct Journey {
    outside: Rc<Outside>,
    exchange: Exchange,
    outgoing: Rc<Outgoing>,
    upload: Upload,
    /// Where the latest attempt goes; `None` while the first waits for a connection.
    endpoint: Option<Rc<Endpoint>>,
    stage: Stage,
    timer: Option<(Timestamp, Pin<Box<Sleep>>)>,
    news: VecDeque<News>,
}

impl Journey {
    /// Sets out with the first attempt, or waits for it: `first` is what the exchange says at its beginning.
    pub(crate) fn begin(
        outside: Rc<Outside>,
        exchange: Exchange,
        first: Step,
        outgoing: Rc<Outgoing>,
        upload: Upload,
    ) -> Self {
        let (stage, timer, news) = (Stage::Away, None, VecDeque::new());
        let mut journey = Journey { outside, exchange, outgoing, upload, endpoint: None, stage, timer, news };
        match first {
            Step::Attempt(attempt) => journey.attempt(attempt),
            step => journey.obey(step),
        }
        journey
    }

    /// How many attempts have been started.
    pub(crate) fn attempts(&self) -> u32 {
        self.exchange.attempts()
    }

    /// Where the latest attempt went.
    pub(crate) fn endpoint(&self) -> Option<&Rc<Endpoint>> {
        self.endpoint.as_ref()
    }

    /// Whether all of the request is here.
    pub(crate) fn is_whole(&self) -> bool {
        self.upload.is_whole()
    }

    /// The next piece of the request.
    pub(crate) fn push(&mut self, data: Bytes) {
        if self.upload.push(data).is_err() {
            self.tell(Event::Unrepeatable);
        }
    }

    /// The request has come to its end.
    pub(crate) fn end(&mut self, trailers: Option<hyper::HeaderMap>) {
        self.upload.end(trailers);
        self.tell(Event::Received);
    }

    /// Ready when more of the request may be pushed.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.upload.poll_room(cx)
    }

    /// Ready when the body of a copy is there to its end, or never will be.
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.upload.poll_ended(cx)
    }

    /// The request of a copy has been received whole; its body came through a tap.
    pub(crate) fn received(&mut self) {
        self.tell(Event::Received);
    }

    /// Goes on, and says what there is to pass on. Body pieces are read only while `wanted`.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, wanted: bool) -> Poll<News> {
        loop {
            if let Some(news) = self.news.pop_front() {
                return Poll::Ready(news);
            }
            if self.poll_stage(cx, wanted).is_ready() || self.poll_timer(cx).is_ready() {
                continue;
            }
            return Poll::Pending;
        }
    }

    /// Ready when something has changed.
    fn poll_stage(&mut self, cx: &mut Context<'_>, wanted: bool) -> Poll<()> {
        match &mut self.stage {
            Stage::Away => Poll::Pending,
            Stage::Connecting { connecting, .. } => {
                let connected = ready!(connecting.as_mut().poll(cx));
                let Stage::Connecting { load, .. } = std::mem::replace(&mut self.stage, Stage::Away) else {
                    return Poll::Ready(());
                };
                match connected {
                    Ok(sender) => {
                        self.tell(Event::Connected);
                        self.send(sender, load);
                    }
                    Err(failure) => self.tell(Event::Failed(failure)),
                }
                Poll::Ready(())
            }
            Stage::Waiting { answer, .. } => {
                let answer = ready!(answer.as_mut().poll(cx));
                self.answered(answer);
                Poll::Ready(())
            }
            Stage::Answering { body, .. } => {
                if !wanted {
                    return Poll::Pending;
                }
                match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => {
                            self.news.push_back(News::Data(data));
                            // Known lengths end with their last piece, without another look.
                            if body.is_end_stream() {
                                self.finish(None);
                            }
                        }
                        Err(frame) => {
                            let trailers = frame.into_trailers().ok();
                            self.finish(trailers);
                        }
                    },
                    Some(Err(error)) => self.tell(Event::Failed(failure(&error))),
                    None => self.finish(None),
                }
                Poll::Ready(())
            }
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.exchange.wake_by(cx.waker());
        let Some(at) = self.exchange.wake_at() else {
            self.timer = None;
            return Poll::Pending;
        };
        let clock = self.outside.clock;
        let (set, sleep) =
            self.timer.get_or_insert_with(|| (at, Box::pin(tokio::time::sleep_until(clock.instant(at)))));
        if *set != at {
            *set = at;
            sleep.as_mut().reset(clock.instant(at));
        }
        ready!(sleep.as_mut().poll(cx));
        self.timer = None;
        self.tell(Event::Woken);
        Poll::Ready(())
    }

    fn attempt(&mut self, attempt: Attempt) {
        self.endpoint = Some(attempt.endpoint);
        let body = self.upload.begin();
        if !self.exchange.may_repeat() {
            self.upload.forget();
        }
        self.go(Load::Body(body));
    }

    /// Takes a kept connection, or opens one.
    fn go(&mut self, load: Load) {
        let Some(endpoint) = self.endpoint.clone() else { return };
        let target = Target::new(&endpoint, self.outgoing.authority());
        if let Some(sender) = self.outside.connections.take(&target) {
            self.tell(Event::Connected);
            return self.send(sender, load);
        }
        let now = self.outside.clock.now();
        match self.exchange.on(Event::Opening, now, &mut &self.outside.random) {
            Step::Continue => {}
            step => return self.obey(step),
        }
        let (outside, host) = (Rc::clone(&self.outside), self.outgoing.authority().clone());
        let connecting = Box::pin(async move { outside.connections.open(endpoint, host).await });
        self.stage = Stage::Connecting { connecting, load };
    }

    fn send(&mut self, mut sender: Sender, load: Load) {
        let protocol = self.endpoint.as_ref().map(|endpoint| endpoint.protocol()).unwrap_or_default();
        let request = match load {
            Load::Body(body) => {
                let told = self.exchange.told(self.outside.clock.now());
                self.outgoing.request(protocol, self.exchange.attempts(), told, body)
            }
            Load::Request(request) => Ok(*request),
        };
        match request {
            Ok(request) => {
                let answer = sender.send(request);
                self.stage = Stage::Waiting { answer, sender };
            }
            Err(_) => self.tell(Event::Failed(Failure::Protocol)),
        }
    }

    fn answered(&mut self, answer: Sent) {
        let Stage::Waiting { sender, .. } = std::mem::replace(&mut self.stage, Stage::Away) else { return };
        match answer {
            Ok(answer) => {
                let (mut head, body) = answer.into_parts();
                let end = body.is_end_stream();
                self.stage = Stage::Answering { body, sender };
                let header = |name: &str| head.headers.get(name).map(hyper::header::HeaderValue::as_bytes);
                let answer = Answer { status: head.status.as_u16(), header: &header };
                let now = self.outside.clock.now();
                match self.exchange.on(Event::Answered(answer), now, &mut &self.outside.random) {
                    Step::Deliver { flags } => {
                        self.upload.forget();
                        let cookies = self.exchange.set_cookies().map(HeaderValue::from_str);
                        cookies.flatten().for_each(|cookie| _ = head.headers.append(SET_COOKIE, cookie));
                        self.news.push_back(News::Answer { head: Box::new(head), end, flags });
                        if end {
                            self.finish(None);
                        }
                    }
                    step => self.obey(step),
                }
            }
            Err(mut error) => match error.take_message() {
                // Nothing of it was written: a kept connection was closed under our hands.
                Some(request) => self.go(Load::Request(Box::new(request))),
                None => self.tell(Event::Failed(failure(error.error()))),
            },
        }
    }

    /// The answer is there to its end; its connection may be used again.
    fn finish(&mut self, trailers: Option<hyper::HeaderMap>) {
        self.news.push_back(News::End { trailers });
        if let Stage::Answering { sender, .. } = std::mem::replace(&mut self.stage, Stage::Away)
            && let Some(endpoint) = &self.endpoint
        {
            self.outside.connections.give_back(Target::new(endpoint, self.outgoing.authority()), sender);
        }
    }

    fn tell(&mut self, event: Event<'_>) {
        let step = self.exchange.on(event, self.outside.clock.now(), &mut &self.outside.random);
        self.obey(step);
    }

    fn obey(&mut self, step: Step) {
        match step {
            // Only an answer is delivered, and `answered` sees to it.
            Step::Continue | Step::Deliver { .. } => return,
            Step::Attempt(attempt) => {
                self.leave();
                if attempt.number > 1 {
                    self.outside.stats.retried();
                }
                return self.attempt(attempt);
            }
            // Nothing was sent yet of what waits now.
            Step::Queue | Step::BackOff => {}
            Step::Reply(reply) => self.news.push_back(News::Reply(reply)),
            Step::Abort { flags, details: _ } => self.news.push_back(News::Broken { flags }),
        }
        self.leave();
    }

    /// Drops the attempt under way. An answer that nobody will read but that is complete leaves its connection whole.
    fn leave(&mut self) {
        self.upload.stop();
        if let Stage::Answering { body, sender } = std::mem::replace(&mut self.stage, Stage::Away)
            && body.is_end_stream()
            && let Some(endpoint) = &self.endpoint
        {
            self.outside.connections.give_back(Target::new(endpoint, self.outgoing.authority()), sender);
        }
    }
}
