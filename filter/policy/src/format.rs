//! Header values with Envoy's `%COMMAND%`s in them, as far as a filter can know what they stand for.
//!
//! Envoy's substitution formatter: `%REQ(name?other):length%` is a request header, `%RESP(…)%` one of the response, `%%`
//! a percent sign. What has no value is empty, and an edit whose value comes out empty is skipped.

use crate::request::HeaderPair;
use std::borrow::Cow;
use std::fmt;

/// Something about the request that stands in no header; whoever asks the engine knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// `%PROTOCOL%`, as in `HTTP/1.1`.
    Protocol,
    /// `%DOWNSTREAM_REMOTE_ADDRESS%`, `ip:port`.
    RemoteAddress,
    /// `%DOWNSTREAM_LOCAL_ADDRESS%`, `ip:port`.
    LocalAddress,
}

impl Fact {
    /// The command that stands for it.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Protocol => "%PROTOCOL%",
            Self::RemoteAddress => "%DOWNSTREAM_REMOTE_ADDRESS%",
            Self::LocalAddress => "%DOWNSTREAM_LOCAL_ADDRESS%",
        }
    }
}

/// A header value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Without commands; never empty.
    Literal(Box<str>),
    Format(Box<[Part]>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text(Box<str>),
    /// Known when the request is decided.
    Early(Early),
    /// Known when the response is there.
    Late(Late),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Early {
    Header(HeaderRef),
    Fact(Fact, AddressPart),
    /// `%UPSTREAM_CLUSTER%`.
    Cluster,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    Header(HeaderRef),
    /// `%RESPONSE_CODE%`.
    Status,
}

/// Which part of an address a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressPart {
    Whole,
    WithoutPort,
    Port,
}

/// `name?other):length`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderRef {
    name: Box<str>,
    other: Option<Box<str>>,
    length: Option<usize>,
}

/// From behind the opening bracket: `name?other):length`.
impl fmt::Display for HeaderRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.other.iter().try_for_each(|other| write!(f, "?{other}"))?;
        f.write_str(")")?;
        self.length.iter().try_for_each(|length| write!(f, ":{length}"))
    }
}

impl HeaderRef {
    fn value(&self, pairs: &[HeaderPair<'_>]) -> Vec<u8> {
        let first = |name: &str| pairs.iter().find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| *value);
        let value = first(&self.name).or_else(|| first(self.other.as_deref()?)).unwrap_or_default();
        value.get(..self.length.unwrap_or(usize::MAX)).unwrap_or(value).to_vec()
    }
}

impl Value {
    /// The value itself where it has no commands.
    pub(crate) fn literal(&self) -> Option<&[u8]> {
        if let Self::Literal(text) = self { Some(text.as_bytes()) } else { None }
    }

    /// Every part that is known early, evaluated in order.
    pub(crate) fn early(&self, mut evaluate: impl FnMut(&Early) -> Vec<u8>) -> Vec<Vec<u8>> {
        let Self::Format(parts) = self else { return Vec::new() };
        let early = parts.iter().filter_map(|part| if let Part::Early(early) = part { Some(early) } else { None });
        early.map(&mut evaluate).collect()
    }

    /// The value; `early` in the order of [`Value::early`].
    pub(crate) fn render(
        &self,
        early: &mut impl Iterator<Item = Vec<u8>>,
        mut late: impl FnMut(&Late) -> Vec<u8>,
    ) -> Cow<'_, [u8]> {
        let parts = match self {
            Self::Literal(text) => return Cow::Borrowed(text.as_bytes()),
            Self::Format(parts) => parts,
        };
        let mut out = Vec::new();
        for part in parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Early(_) => out.extend(early.next().unwrap_or_default()),
                Part::Late(part) => out.extend(late(part)),
            }
        }
        // What a client put into one header must not become two.
        out.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
        Cow::Owned(out)
    }

    /// Whether it looks at the request.
    pub(crate) fn is_early(&self) -> bool {
        matches!(self, Self::Format(parts) if parts.iter().any(|part| matches!(part, Part::Early(_))))
    }

    pub(crate) fn is_late(&self) -> bool {
        matches!(self, Self::Format(parts) if parts.iter().any(|part| matches!(part, Part::Late(_))))
    }
}

impl Early {
    pub(crate) fn evaluate(
        &self,
        pairs: &[HeaderPair<'_>],
        cluster: &str,
        fact: impl FnOnce(Fact) -> Option<Vec<u8>>,
    ) -> Vec<u8> {
        match self {
            Self::Header(header) => header.value(pairs),
            Self::Cluster => cluster.as_bytes().to_vec(),
            Self::Fact(wanted, part) => address_part(fact(*wanted).unwrap_or_default(), *part),
        }
    }
}

impl Late {
    /// The command as it can be written, for people.
    pub(crate) fn command(&self) -> String {
        match self {
            Self::Header(header) => format!("%RESP({header}%"),
            Self::Status => "%RESPONSE_CODE%".to_owned(),
        }
    }

    pub(crate) fn evaluate(&self, response: &[HeaderPair<'_>]) -> Vec<u8> {
        match self {
            Self::Header(header) => header.value(response),
            Self::Status => HeaderRef { name: ":status".into(), other: None, length: None }.value(response),
        }
    }
}

fn address_part(address: Vec<u8>, part: AddressPart) -> Vec<u8> {
    let at = address.iter().rposition(|byte| *byte == b':');
    match (part, at.and_then(|at| address.split_at_checked(at))) {
        (AddressPart::Whole, _) | (_, None) => address,
        (AddressPart::WithoutPort, Some((host, _))) => {
            let bare = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]"));
            bare.unwrap_or(host).to_vec()
        }
        (AddressPart::Port, Some((_, port))) => port.get(1..).unwrap_or_default().to_vec(),
    }
}

/// Reads a value as Envoy's formatter does.
///
/// # Errors
/// What is wrong, or which command a filter cannot know.
pub(crate) fn parse(text: &str, in_response: bool) -> Result<Option<Value>, String> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('%') {
        literal.push_str(before);
        if let Some(behind) = behind.strip_prefix('%') {
            literal.push('%');
            rest = behind;
            continue;
        }
        let (command, behind) =
            split_command(behind).ok_or_else(|| format!("`%{behind}`: a `%` without its other `%`"))?;
        if !literal.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut literal).into()));
        }
        parts.push(parse_command(command, in_response)?);
        rest = behind;
    }
    literal.push_str(rest);
    if parts.is_empty() {
        return Ok((!literal.is_empty()).then(|| Value::Literal(literal.into())));
    }
    if !literal.is_empty() {
        parts.push(Part::Text(literal.into()));
    }
    Ok(Some(Value::Format(parts.into())))
}

/// The command up to its closing `%`; one inside brackets belongs to the command.
fn split_command(text: &str) -> Option<(&str, &str)> {
    let first = text.find(['%', '('])?;
    let opens = text.get(first..)?.starts_with('(');
    let bracket = if opens { text.find(')').unwrap_or(first) } else { first };
    let end = text.get(bracket..)?.find('%')?.checked_add(bracket)?;
    Some((text.get(..end)?, text.get(end..)?.strip_prefix('%')?))
}

fn parse_command(command: &str, in_response: bool) -> Result<Part, String> {
    let whole = AddressPart::Whole;
    if let Some(arguments) = command.strip_prefix("REQ(") {
        if in_response && arguments.to_ascii_lowercase().contains("x-envoy-attempt-count") {
            return Err("the filter cannot know `x-envoy-attempt-count`, which the router counts after it".to_owned());
        }
        return Ok(Part::Early(Early::Header(header_ref(command, arguments)?)));
    }
    if let Some(arguments) = command.strip_prefix("RESP(").filter(|_| in_response) {
        return Ok(Part::Late(Late::Header(header_ref(command, arguments)?)));
    }
    Ok(match command {
        "PROTOCOL" => Part::Early(Early::Fact(Fact::Protocol, whole)),
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Part::Early(Early::Cluster),
        "RESPONSE_CODE" if in_response => Part::Late(Late::Status),
        _ => {
            let (fact, part) =
                address_command(command).ok_or_else(|| format!("the filter cannot know `%{command}%`"))?;
            Part::Early(Early::Fact(fact, part))
        }
    })
}

fn address_command(command: &str) -> Option<(Fact, AddressPart)> {
    let (fact, part) = if let Some(rest) = command.strip_prefix("DOWNSTREAM_REMOTE_") {
        (Fact::RemoteAddress, rest)
    } else {
        (Fact::LocalAddress, command.strip_prefix("DOWNSTREAM_LOCAL_")?)
    };
    let part = match part {
        "ADDRESS" => AddressPart::Whole,
        "ADDRESS_WITHOUT_PORT" => AddressPart::WithoutPort,
        "PORT" => AddressPart::Port,
        _ => return None,
    };
    Some((fact, part))
}

fn header_ref(command: &str, arguments: &str) -> Result<HeaderRef, String> {
    let fault = || format!("`%{command}%` is not of the form %REQ(name?other):length%");
    let (names, length) = arguments.split_once(')').ok_or_else(fault)?;
    let length = match length.strip_prefix(':') {
        Some(digits) => Some(digits.parse().map_err(|_| fault())?),
        None if length.is_empty() => None,
        None => return Err(fault()),
    };
    let (name, other) = names.split_once('?').map_or((names, None), |(name, other)| (name, Some(other)));
    if name.is_empty() {
        return Err(fault());
    }
    let lower = |name: &str| match name.to_ascii_lowercase() {
        // To Envoy these are one.
        host if host == "host" => ":authority".into(),
        other => other.into(),
    };
    Ok(HeaderRef { name: lower(name), other: other.map(lower), length })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let request: &[HeaderPair<'_>] = &[(b":path", b"/a"), (b"x-user", b"ann"), (b"bad", b"a\r\nb")];
        let value = parse(text, false).unwrap_or_else(|fault| panic!("{fault}"));
        let value = value.as_ref();
        let fact = |fact| Some(if fact == Fact::Protocol { b"HTTP/2".to_vec() } else { b"10.0.0.1:99".to_vec() });
        let early = value.map(|value| value.early(|early| early.evaluate(request, "c", fact))).unwrap_or_default();
        let rendered = value.map(|value| value.render(&mut early.into_iter(), |late| late.evaluate(&[])).into_owned());
        assert_eq!(String::from_utf8(rendered.unwrap_or_default()).unwrap(), expected, "{text}");
    }

    #[test]
    fn commands_stand_for_what_the_request_says() {
        check("100%%", "100%");
        check("u=%REQ(X-User)%;", "u=ann;");
        check("%REQ(none?x-user)%%REQ(:path)%", "ann/a");
        check("%REQ(x-user):2%", "an");
        check("%REQ(none)%", "");
        check(
            "%PROTOCOL% %DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%",
            "HTTP/2 10.0.0.1:99 10.0.0.1 99",
        );
        check("%UPSTREAM_CLUSTER%", "c");
        check("%REQ(bad)%", "ab");
        check("", "");
    }

    #[test]
    fn what_a_filter_cannot_know_is_refused() {
        for text in ["%START_TIME%", "%RESP(x)%", "%REQ(x)", "100%", "%REQ()%", "%REQ(x):y%", "%%%"] {
            assert!(parse(text, false).is_err(), "{text}");
        }
        assert!(parse("%RESP(x)% %RESPONSE_CODE%", true).is_ok());
    }
}
