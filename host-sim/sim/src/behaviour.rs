//! What an upstream does with one attempt. A scenario draws it from a version's outcomes; a test writes it down.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use host_abi::HeaderMap;

/// What happens to one attempt, and when.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Counted from the moment the attempt is sent.
    pub after: Duration,
    /// What happens then.
    pub outcome: Outcome,
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
        Self { status, head, body }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }
}

impl Behaviour {
    /// Answers this at once.
    pub fn of(answer: Answer) -> Self {
        Self { after: Duration::ZERO, outcome: Outcome::Answer(Rc::new(answer)) }
    }

    /// Answers this status at once, with nothing else.
    pub fn status(status: u16) -> Self {
        Self::of(Answer::new(status, [("", ""); 0], Bytes::new()))
    }

    /// Closes the connection at once.
    pub fn connection_closed() -> Self {
        Self { after: Duration::ZERO, outcome: Outcome::ConnectionClosed }
    }

    /// Refuses the connection at once.
    pub fn refused() -> Self {
        Self { after: Duration::ZERO, outcome: Outcome::Refused }
    }

    /// Is no host that anyone knows.
    pub fn unresolved() -> Self {
        Self { after: Duration::ZERO, outcome: Outcome::Unresolved }
    }

    /// Takes the request and says nothing, ever.
    pub fn never_answers() -> Self {
        Self { after: Duration::ZERO, outcome: Outcome::NeverAnswers }
    }

    /// The same, later.
    #[must_use]
    pub fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }
}
