//! What an upstream does with one attempt. A scenario draws it from a version's outcomes; a test writes it down.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use host_abi::HeaderMap;

use crate::engine::RequestSpec;

/// What happens to one attempt, and when.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Where the service does the work; `None`: nothing limits it.
    pub workplace: Option<Workplace>,
    /// What the service asks of others first.
    pub calls: Vec<Call>,
    /// Counted from the moment the attempt is sent or, where there are calls, the last of them is over.
    pub after: Duration,
    /// What happens then.
    pub outcome: Outcome,
}

/// An endpoint that works on so much at a time.
#[derive(Clone, Debug)]
pub struct Workplace {
    /// Tells it from others.
    pub number: usize,
    /// How many attempts it works on at once.
    pub concurrency: u32,
    /// How many more may wait for their turn.
    pub queue: u32,
    /// What those get that find the queue full.
    pub refusal: Rc<Answer>,
}

/// A request that a service sends for the sake of the one that it is at work on.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is sent.
    pub request: Rc<RequestSpec>,
    /// Names of the headers that are taken over from the request that the service is at work on.
    pub forwards: Rc<[String]>,
    /// It begins together with the call before it, instead of after it.
    pub alongside: bool,
    /// What the service answers at once when the call fails; `None`: it goes on.
    pub otherwise: Option<Rc<Answer>>,
}

/// How an attempt ends on the side of the upstream.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// An answer, shared by all attempts that get the same.
    Answer(Rc<Answer>),
    /// The connection is closed in place of an answer (an empty reply).
    ConnectionClosed,
    /// The connection is not accepted.
    Refused,
    /// There is no such host (of a request that passes through).
    Unresolved,
    /// Nothing ever comes.
    NeverAnswers,
}

/// An answer of an upstream.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(crate) status: u16,
    /// With `:status` and `content-length`.
    pub(crate) head: HeaderMap,
    pub(crate) body: Bytes,
    /// How long the body comes after the head.
    pub(crate) body_takes: Duration,
}

impl Answer {
    /// An answer with this status, these headers and this body; `content-length` is added unless given.
    pub fn new<N, V>(status: u16, headers: impl IntoIterator<Item = (N, V)>, body: impl Into<Bytes>) -> Self
    where
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let body = body.into();
        let mut head = HeaderMap::new();
        head.append(":status", status.to_string());
        head.extend(headers);
        if head.get("content-length").is_none() {
            head.append("content-length", body.len().to_string());
        }
        Self { status, head, body, body_takes: Duration::ZERO }
    }

    /// The same, with a body that comes so long after the head.
    #[must_use]
    pub fn with_slow_body(self, body_takes: Duration) -> Self {
        Self { body_takes, ..self }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }
}

impl Behaviour {
    /// This at once.
    fn at_once(outcome: Outcome) -> Self {
        Self { workplace: None, calls: Vec::new(), after: Duration::ZERO, outcome }
    }

    /// Answers this at once.
    pub fn of(answer: Answer) -> Self {
        Self::at_once(Outcome::Answer(Rc::new(answer)))
    }

    /// Answers this status at once, with nothing else.
    pub fn status(status: u16) -> Self {
        Self::of(Answer::new(status, [("", ""); 0], Bytes::new()))
    }

    /// Closes the connection at once.
    pub fn connection_closed() -> Self {
        Self::at_once(Outcome::ConnectionClosed)
    }

    /// Refuses the connection at once.
    pub fn refused() -> Self {
        Self::at_once(Outcome::Refused)
    }

    /// Is no host that anyone knows.
    pub fn unresolved() -> Self {
        Self::at_once(Outcome::Unresolved)
    }

    /// Takes the request and says nothing, ever.
    pub fn never_answers() -> Self {
        Self::at_once(Outcome::NeverAnswers)
    }

    /// The same, later.
    #[must_use]
    pub fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    /// The same, at a place that works on so much at a time.
    #[must_use]
    pub fn at(self, workplace: Workplace) -> Self {
        Self { workplace: Some(workplace), ..self }
    }

    /// The same, after these calls.
    #[must_use]
    pub fn calling(self, calls: Vec<Call>) -> Self {
        Self { calls, ..self }
    }
}
