//! Trace context at a hop: the request goes on under a span of its own, as a child of the one it came with.
//!
//! Off unless asked for: without it every trace header passes untouched, which is what a proxy that takes no part in tracing
//! does. With it the three usual forms are renewed together, under one new span id: B3 in several headers and in one
//! (openzipkin/b3-propagation) and `traceparent` (W3C Trace Context). `tracestate`, `baggage` and `x-ot-span-context` stay:
//! the first two belong to whoever wrote them, the third is opaque. What is malformed stays too, and a request without
//! trace context gets none: there is nobody here to report a span to.

use crate::headers::Edit;
use crate::request::RequestHead;
use std::borrow::Cow;

/// A span id: sixteen hexadecimal digits, not all zero.
const SPAN_DIGITS: usize = 16;

/// Edits that put the request under a new span; `draw` is asked once, and only where there is a context.
pub(crate) fn fresh_span(request: &RequestHead<'_>, mut draw: impl FnMut() -> u64) -> Vec<Edit<'static>> {
    let traceparent = only(request, b"traceparent").and_then(Traceparent::parse);
    let single = only(request, b"b3").and_then(SingleB3::parse);
    let multi = only(request, b"x-b3-spanid").filter(|span| is_id(span, &[SPAN_DIGITS]));
    let multi = multi.filter(|_| only(request, b"x-b3-traceid").is_some_and(|trace| is_id(trace, &[16, 32])));
    if traceparent.is_none() && single.is_none() && multi.is_none() {
        return Vec::new();
    }
    // Zero is no span id.
    let span = format!("{:016x}", draw().max(1)).into_bytes();
    let mut edits = Vec::new();
    let mut set = |name, value: Vec<u8>| edits.push(Edit::Set(name, Cow::Owned(value)));
    if let Some(parent) = multi {
        set("x-b3-parentspanid", parent.to_vec());
        set("x-b3-spanid", span.clone());
    }
    if let Some(single) = single {
        set("b3", single.child(&span));
    }
    if let Some(traceparent) = traceparent {
        set("traceparent", traceparent.child(&span));
    }
    edits
}

/// The trace that a request belongs to, as 32 digits in lower case: that of `traceparent`, else of `b3`, else of `x-b3-traceid`. `only` gives the
/// value of a header that is there once.
pub(crate) fn trace_id<'v>(only: impl Fn(&[u8]) -> Option<&'v [u8]>) -> Option<[u8; 32]> {
    let traceparent = || only(b"traceparent").and_then(Traceparent::parse).and_then(|sound| sound.before.get(3..35));
    let single = || only(b"b3").and_then(SingleB3::parse).map(|sound| sound.trace);
    let multi = || only(b"x-b3-traceid").filter(|trace| is_id(trace, &[16, 32]));
    let found = traceparent().or_else(single).or_else(multi)?;
    // A short id is the long one without the zeros in front.
    let mut digits = [b'0'; 32];
    let start = digits.len().checked_sub(found.len())?;
    digits.get_mut(start..)?.copy_from_slice(found);
    digits.make_ascii_lowercase();
    Some(digits)
}

/// The value of a header that is there once; a repeated one is no context.
fn only<'r>(request: &RequestHead<'r>, name: &[u8]) -> Option<&'r [u8]> {
    let mut values = request.values(name);
    values.next().filter(|_| values.next().is_none())
}

/// Hexadecimal digits, so many as one of `lengths`, not all zero.
fn is_id(text: &[u8], lengths: &[usize]) -> bool {
    lengths.contains(&text.len()) && text.iter().all(u8::is_ascii_hexdigit) && text.iter().any(|digit| *digit != b'0')
}

/// `version-trace-parent-flags`, and whatever a later version puts behind it.
struct Traceparent<'r> {
    /// Up to the parent id.
    before: &'r [u8],
    /// From behind it.
    after: &'r [u8],
}

impl<'r> Traceparent<'r> {
    fn parse(text: &'r [u8]) -> Option<Self> {
        let mut fields = text.split(|byte| *byte == b'-');
        let (version, trace, parent, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let is_hex = |field: &[u8]| field.len() == 2 && field.iter().all(u8::is_ascii_hexdigit);
        let is_lower = !text.iter().any(u8::is_ascii_uppercase);
        let ends_there = version != b"00" || fields.next().is_none();
        let sound = is_hex(version)
            && version != b"ff"
            && is_id(trace, &[32])
            && is_id(parent, &[SPAN_DIGITS])
            && is_hex(flags);
        // Two digits, 32 and 16, and a hyphen behind each.
        let (before, rest) = text.split_at_checked(36)?;
        (sound && is_lower && ends_there).then_some(Self { before, after: rest.get(SPAN_DIGITS..)? })
    }

    fn child(&self, span: &[u8]) -> Vec<u8> {
        [self.before, span, self.after].concat()
    }
}

/// `trace-span`, `trace-span-sampled`, `trace-span-sampled-parent`. A sampling decision alone is no context.
struct SingleB3<'r> {
    trace: &'r [u8],
    span: &'r [u8],
    sampled: Option<&'r [u8]>,
}

impl<'r> SingleB3<'r> {
    fn parse(text: &'r [u8]) -> Option<Self> {
        let mut fields = text.split(|byte| *byte == b'-');
        let (trace, span, sampled, parent) = (fields.next()?, fields.next()?, fields.next(), fields.next());
        let sound = is_id(trace, &[16, 32])
            && is_id(span, &[SPAN_DIGITS])
            && sampled.is_none_or(|sampled| matches!(sampled, b"0" | b"1" | b"d"))
            && parent.is_none_or(|parent| is_id(parent, &[SPAN_DIGITS]))
            && fields.next().is_none();
        sound.then_some(Self { trace, span, sampled })
    }

    /// The parent stands behind the sampling decision, and without the one there is no place for the other.
    fn child(&self, span: &[u8]) -> Vec<u8> {
        match self.sampled {
            Some(sampled) => [self.trace, span, sampled, self.span].join(&b'-'),
            None => [self.trace, span].join(&b'-'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";
    const NEW: &str = "00000000000000ab";

    #[test]
    fn all_forms_name_one_trace() {
        let named = |headers: &[(&str, &str)]| {
            let found = trace_id(|name| {
                headers.iter().find(|(key, _)| key.as_bytes() == name).map(|(_, value)| value.as_bytes())
            });
            found.map(|digits| String::from_utf8(digits.to_vec()).unwrap())
        };
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let single = format!("{TRACE}-{SPAN}-1");
        for headers in [("traceparent", &*parent), ("b3", &*single), ("x-b3-traceid", &TRACE.to_uppercase())] {
            assert_eq!(named(&[headers]).as_deref(), Some(TRACE), "{headers:?}");
        }
        assert_eq!(named(&[("traceparent", "00-1-2-3"), ("x-b3-traceid", SPAN)]), Some(format!("{:0>32}", SPAN)));
        assert_eq!(named(&[("b3", "0"), ("x-b3-traceid", "0000000000000000")]), None);
    }

    fn check(headers: &[(&str, &str)], expected: &[(&str, &str)]) {
        let pairs: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let mut draws = 0;
        let edits = fresh_span(&RequestHead::new(&pairs), || {
            draws += 1;
            0xab
        });
        let set = |edit: &Edit<'_>| match edit {
            Edit::Set(name, value) => (name.to_string(), String::from_utf8_lossy(value).into_owned()),
            other => panic!("{other:?}"),
        };
        let expected: Vec<_> = expected.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(edits.iter().map(set).collect::<Vec<_>>(), expected, "{headers:?}");
        assert_eq!(draws, usize::from(!expected.is_empty()), "one id for all forms");
    }

    #[test]
    fn all_forms_go_on_under_one_new_span() {
        let w3c = format!("00-{TRACE}-{SPAN}-01");
        let single = format!("{TRACE}-{SPAN}-1-00000000000000cc");
        check(
            &[
                ("x-b3-traceid", TRACE),
                ("x-b3-spanid", SPAN),
                ("b3", &single),
                ("traceparent", &w3c),
                ("tracestate", "a=b"),
            ],
            &[
                ("x-b3-parentspanid", SPAN),
                ("x-b3-spanid", NEW),
                ("b3", &format!("{TRACE}-{NEW}-1-{SPAN}")),
                ("traceparent", &format!("00-{TRACE}-{NEW}-01")),
            ],
        );
        check(&[("b3", &format!("{SPAN}-{SPAN}"))], &[("b3", &format!("{SPAN}-{NEW}"))]);
        let later = format!("01-{TRACE}-{SPAN}-00-more");
        check(&[("traceparent", &later)], &[("traceparent", &format!("01-{TRACE}-{NEW}-00-more"))]);
    }

    #[test]
    fn what_is_no_context_stays() {
        let zero = format!("00-{}-{SPAN}-01", "0".repeat(32));
        let upper = format!("00-{}-{SPAN}-01", TRACE.to_uppercase());
        let longer = format!("00-{TRACE}-{SPAN}-01-x");
        for value in [
            "",
            "00",
            zero.as_str(),
            upper.as_str(),
            longer.as_str(),
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            check(&[("traceparent", value)], &[]);
        }
        let w3c = format!("00-{TRACE}-{SPAN}-01");
        check(&[("traceparent", &w3c), ("traceparent", &w3c)], &[]);
        for value in ["0", "1", "d", "a-b", &format!("{TRACE}-{SPAN}-x"), &format!("{TRACE}-{SPAN}-1-{SPAN}-1")] {
            check(&[("b3", value)], &[]);
        }
        check(&[("x-b3-spanid", SPAN)], &[]);
        check(&[("x-b3-traceid", TRACE), ("x-b3-spanid", "0000000000000000")], &[]);
        check(&[("x-request-id", "1"), ("x-ot-span-context", "opaque")], &[]);
    }
}
