//! Headers that describe one thing between them: half of a trace context from one request and half from another would be
//! worse than none.

/// A form of trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// W3C Trace Context.
    W3c,
    /// Zipkin's, in several headers or in one.
    B3,
}

const W3C: [&[u8]; 2] = [b"traceparent", b"tracestate"];
const B3: [&[u8]; 6] = [b"b3", b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid", b"x-b3-sampled", b"x-b3-flags"];

impl Family {
    /// The family of a header, its name in lower case.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        match name {
            _ if W3C.contains(&name) => Some(Self::W3c),
            _ if B3.contains(&name) => Some(Self::B3),
            _ => None,
        }
    }

    /// Its headers.
    pub(crate) fn names(self) -> &'static [&'static [u8]] {
        match self {
            Self::W3c => &W3C,
            Self::B3 => &B3,
        }
    }
}
