//! The format of a case. A file of the corpus holds one or more of these, as YAML documents.
//!
//! ```yaml
//! name: a prefix is a plain string prefix          # unique in the corpus
//! about: /foo takes /foobar too; a path-aware prefix would not.
//! rules:                                           # VirtualServices in short: host, then `http`
//!   reviews:
//!   - match: [{uri: {prefix: /foo}}]
//!     route: [{destination: {host: reviews, subset: v2}}]
//! objects: |                                       # Istio's objects as they are; several documents
//!   ...
//! normalization: MERGE_SLASHES                     # of paths, before they are matched; BASE unless said
//! outbound: REGISTRY_ONLY                          # what unknown hosts meet, or ALLOW_ANY; 404 unless said
//! locality: region/zone/subzone                    # where the caller runs; unknown unless said
//! behaviour:                                       # of endpoints, for each request they receive; 200 unless said
//!   reviews-v1: [503, 503]                         # two times 503, then 200
//!   reviews-v2: {status: 201, headers: {x-a: [1, 2]}, body: text, after: 20ms}   # always
//!   ratings-v1: hang                               # never answers; or `close`: closes without a byte
//!   ratings-v2: as-asked                           # by the request's own header `x-answer: 503 close 200`
//! requests:
//! - send: POST reviews /foobar?a=b                 # method, Host, request target
//!   headers: [x-user: ann, x-user: bob]
//!   body: text
//!   http2: true                                    # over HTTP/2; cookies in crumbs, bodies with trailers
//!   times: 1000                                    # one after the other
//!   expect:
//!     status: 200                                  # the default
//!     from: reviews-v2                             # who answered: an endpoint, or a service for any of its endpoints
//!     hits: {reviews-v2: 1}                        # requests received, retries and copies too; all others: none
//!     seen: {method: POST, path: /x, authority: a, body: text, headers: {x: 1, y: [a, b], z: null}}   # by who answered
//!     seen-by: {ratings-v1: {path: /x}}            # by another one: the last request it received
//!     response: {x-r: 1, x-none: null}             # response headers; null: absent
//!     meets: ann                                   # all that is received arrives at one endpoint, in every request with this word
//!     alike: [x-request-id]                        # headers that are the same in every request received, and there
//!     body: text                                   # contained in the response body
//!     takes: 200ms                                 # until the response: not less, and little more
//!     shares: {reviews-v1: 80, reviews-v2: 20}     # of who answered (also `host`), with `times`: a chi-square test
//!     mirrored: {ratings-v1: 25}                   # percentage of requests an endpoint got a copy of: the same test
//! refused: [no-weight]                               # in place of requests: errors for which no arm takes the rules
//! skip: {proxy: reason}                            # an arm that cannot run it; counted and limited
//! differs: {native: reason}                        # an arm that does otherwise; the test fails if it does not
//! since: {envoy: 1.39.1, because: what was so}     # an older Envoy differs, and must: `make test-envoy-matrix`
//! ```
//!
//! A header's value may be `{length: 36}`: one value of so many bytes, whatever it is; or `{length: 36, ends: text}`. In values and targets `\xNN` is the
//! byte NN ([`escapes`](crate::escapes)). `{reviews-v1}` in `objects` and in a Host is the port of that endpoint, which
//! is at 127.0.0.1, also called localhost.
//!
//! Without `hits`, each request must reach the endpoint in `from` once and no other, or none at all without `from`.
//! Subsets `v1`, `v2`, `v3` by the label `version` are there for every service, unless the case has DestinationRules of
//! its own.

use crate::envoy_version::Since;
use envoy_plan::{PathNormalization, UnknownPathNormalization};
use istio_config::outbound::OutboundMode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// One case of the corpus.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What is tested, as a sentence; unique.
    pub name: String,
    /// The rule of Istio, and why it is easily got wrong.
    pub about: String,
    /// `http` of VirtualServices, by host.
    #[serde(default)]
    pub rules: BTreeMap<String, Vec<Value>>,
    /// Objects in Istio's YAML.
    #[serde(default)]
    pub objects: String,
    /// How paths are normalised before they are matched.
    #[serde(default)]
    pub normalization: Normalization,
    /// What a host meets that neither the registry nor a rule knows.
    pub outbound: Option<OutboundMode>,
    /// Where the caller runs.
    #[serde(default)]
    pub locality: String,
    /// What endpoints do.
    #[serde(default)]
    pub behaviour: BTreeMap<String, Script>,
    /// What the client sends, one after the other.
    #[serde(default)]
    pub requests: Vec<Request>,
    /// Codes of errors for which the configuration is refused.
    #[serde(default)]
    pub refused: Vec<String>,
    /// Reasons, by arm.
    #[serde(default)]
    pub skip: BTreeMap<String, String>,
    /// Reasons, by arm, why it does not do as the case has it.
    #[serde(default)]
    pub differs: BTreeMap<String, String>,
    /// From which Envoy on it is so; all that is supported unless said.
    pub since: Option<Since>,
    /// Where it was read.
    #[serde(skip)]
    pub file: String,
}

/// [`PathNormalization`] by Istio's name.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Normalization(pub PathNormalization);

impl TryFrom<String> for Normalization {
    type Error = UnknownPathNormalization;

    fn try_from(name: String) -> Result<Self, UnknownPathNormalization> {
        name.parse().map(Self)
    }
}

/// What an endpoint does.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub enum Script {
    /// To every request.
    Always(Behaviour),
    /// To one request after the other; to those beyond, 200.
    InTurn(Vec<Behaviour>),
    /// What the request asks for ([`crate::asked`]).
    AsAsked,
}

/// What an endpoint does with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers.
    Answer(Answer),
    /// Takes the request and says nothing.
    Hang,
    /// Closes the connection without a byte.
    Close,
}

/// An answer of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers beside those every answer has.
    pub headers: Vec<(String, String)>,
    /// The body; the endpoint's name unless said.
    pub body: Option<String>,
    /// Waits so long first.
    pub after: Duration,
}

/// What a client sends, and what is to be seen then.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Method, Host and target.
    pub send: RequestLine,
    /// Headers in order; names may repeat.
    #[serde(default)]
    pub headers: Vec<BTreeMap<String, Scalar>>,
    /// The body.
    pub body: Option<String>,
    /// Sent over HTTP/2, by prior knowledge.
    #[serde(default)]
    pub http2: bool,
    /// How often.
    #[serde(default = "once")]
    pub times: u32,
    /// What is to be seen.
    pub expect: Expect,
}

/// `METHOD HOST TARGET`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct RequestLine {
    /// The method.
    pub method: String,
    /// Host.
    pub host: String,
    /// The request target, sent as it is.
    pub target: String,
}

/// What is to be seen for one request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Expect {
    /// Status of the response.
    #[serde(default = "ok")]
    pub status: u16,
    /// Who answered.
    pub from: Option<String>,
    /// Requests received, by endpoint or service.
    pub hits: Option<BTreeMap<String, u32>>,
    /// The request as who answered saw it.
    pub seen: Option<Seen>,
    /// The last request as another endpoint saw it.
    #[serde(default)]
    pub seen_by: BTreeMap<String, Seen>,
    /// Response headers.
    #[serde(default)]
    pub response: BTreeMap<String, Expected>,
    /// One endpoint gets all that is received, and the same in every request of the case with this word.
    pub meets: Option<String>,
    /// Headers that are in every request received, with the same values.
    #[serde(default)]
    pub alike: Vec<String>,
    /// A part of the response body.
    pub body: Option<String>,
    /// Time until the response.
    pub takes: Option<Pause>,
    /// Who answered how often, as shares.
    pub shares: Option<BTreeMap<String, u32>>,
    /// Who got copies, in percent of the requests.
    #[serde(default)]
    pub mirrored: BTreeMap<String, f64>,
}

/// A request as an endpoint is to see it; what is not said may be anything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// The method.
    pub method: Option<String>,
    /// The request target: path and query.
    pub path: Option<String>,
    /// Host.
    pub authority: Option<String>,
    /// The whole body.
    pub body: Option<String>,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, Expected>,
}

/// What is to be seen of one header.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "Value")]
pub enum Expected {
    /// These values.
    Values(HeaderValues),
    /// One value of so many bytes that ends like this.
    Length(usize, String),
}

/// All values of one header, in order; none of them: it is absent.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "Value")]
pub struct HeaderValues(pub Vec<String>);

/// A string, or a number or truth value as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub struct Scalar(pub String);

/// A time in `ms` or `s`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Pause(pub Duration);

fn once() -> u32 {
    1
}

fn ok() -> u16 {
    200
}

impl Default for Answer {
    fn default() -> Self {
        Self { status: 200, headers: Vec::new(), body: None, after: Duration::ZERO }
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self::Answer(Answer::default())
    }
}

impl TryFrom<Value> for Script {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::String(word) if word == "as-asked" => Ok(Self::AsAsked),
            Value::Array(items) => Ok(Self::InTurn(items.into_iter().map(behaviour).collect::<Result<_, _>>()?)),
            other => behaviour(other).map(Self::Always),
        }
    }
}

fn behaviour(value: Value) -> Result<Behaviour, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        #[serde(default = "ok")]
        status: u16,
        #[serde(default)]
        headers: BTreeMap<String, HeaderValues>,
        body: Option<String>,
        after: Option<Pause>,
    }
    match &value {
        Value::Number(status) => {
            let status = status.as_u64().and_then(|status| u16::try_from(status).ok());
            let status = status.ok_or_else(|| format!("{value} is no status"))?;
            Ok(Behaviour::Answer(Answer { status, ..Answer::default() }))
        }
        Value::String(word) if word == "hang" => Ok(Behaviour::Hang),
        Value::String(word) if word == "close" => Ok(Behaviour::Close),
        Value::Object(_) => {
            let Written { status, headers, body, after } =
                serde_json::from_value(value).map_err(|error| error.to_string())?;
            let headers = headers
                .into_iter()
                .flat_map(|(name, HeaderValues(values))| values.into_iter().map(move |value| (name.clone(), value)));
            let after = after.map_or(Duration::ZERO, |Pause(after)| after);
            Ok(Behaviour::Answer(Answer { status, headers: headers.collect(), body, after }))
        }
        other => Err(format!("{other}: write a status, `hang`, `close` or a map with status, headers, body, after")),
    }
}

impl TryFrom<Value> for HeaderValues {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        Ok(Self(match value {
            Value::Null => Vec::new(),
            Value::Array(values) => values.into_iter().map(scalar).collect::<Result<_, _>>()?,
            value => vec![scalar(value)?],
        }))
    }
}

impl TryFrom<Value> for Expected {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            length: usize,
            #[serde(default)]
            ends: String,
        }
        if value.is_object() {
            let written: Written = serde_json::from_value(value).map_err(|error| error.to_string())?;
            return Ok(Self::Length(written.length, written.ends));
        }
        HeaderValues::try_from(value).map(Self::Values)
    }
}

impl TryFrom<Value> for Scalar {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        scalar(value).map(Self)
    }
}

fn scalar(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        other => Err(format!("{other}: write a string")),
    }
}

impl TryFrom<String> for RequestLine {
    type Error = String;

    fn try_from(line: String) -> Result<Self, String> {
        match line.split(' ').collect::<Vec<_>>()[..] {
            [method, host, target] => {
                Ok(Self { method: method.to_owned(), host: host.to_owned(), target: target.to_owned() })
            }
            _ => Err(format!("`{line}`: write METHOD HOST TARGET")),
        }
    }
}

impl fmt::Display for RequestLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.method, self.host, self.target)
    }
}

impl TryFrom<String> for Pause {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (number, unit) = match text.strip_suffix("ms") {
            Some(number) => (number, 1),
            None => (text.strip_suffix('s').unwrap_or_default(), 1000),
        };
        let number: u64 = number.parse().map_err(|_| format!("`{text}`: write 200ms or 2s"))?;
        Ok(Self(Duration::from_millis(number * unit)))
    }
}

impl Request {
    /// A GET of which nothing is expected yet.
    pub fn get(host: &str, target: &str, headers: &[(&str, &str)]) -> Self {
        let header = |(name, value): &(&str, &str)| BTreeMap::from([((*name).to_owned(), Scalar((*value).to_owned()))]);
        let expect = Expect { status: ok(), ..Expect::default() };
        let send = RequestLine { method: "GET".to_owned(), host: host.to_owned(), target: target.to_owned() };
        Self { send, headers: headers.iter().map(header).collect(), body: None, http2: false, times: once(), expect }
    }

    /// Every header in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().flatten().map(|(name, Scalar(value))| (name.as_str(), value.as_str()))
    }
}

impl Case {
    /// The case's own objects as one text, without those of the fleet.
    pub fn manifests(&self) -> String {
        let mut text = self.objects.clone();
        for (host, http) in &self.rules {
            let name = host.replace('*', "any").replace('.', "-");
            let object = json!({
                "apiVersion": "networking.istio.io/v1",
                "kind": "VirtualService",
                "metadata": { "name": name },
                "spec": { "hosts": [host], "http": http },
            });
            text += &format!("\n---\n{object}\n");
        }
        text
    }

    /// Whether copies may arrive after the response.
    pub fn mirrors(&self) -> bool {
        self.manifests().contains("mirror")
    }
}

/// The cases of one text.
///
/// # Errors
///
/// What is wrong with it, with its place.
pub fn read(file: &str, text: &str) -> Result<Vec<Case>, String> {
    let documents = serde_yaml_ng::Deserializer::from_str(text);
    let case = |document| {
        let case = Case::deserialize(document).map_err(|error| format!("{file}: {error}"))?;
        Ok(Case { file: file.to_owned(), ..case })
    };
    documents.map(case).collect()
}

/// All cases of a folder of this crate, sorted by file: `corpus` for all arms, `front-door` for those with sockets. What
/// no host serves right yet waits in `pending`; `CORPUS=pending` runs a folder in place of the corpus.
pub fn folder(name: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "yaml")) {
        let text = std::fs::read_to_string(path).expect("a readable file");
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        cases.extend(read(&format!("{name}/{file}"), &text).unwrap_or_else(|error| panic!("{error}")));
    }
    cases
}

/// The cases for all arms.
pub fn corpus() -> Vec<Case> {
    folder(&std::env::var("CORPUS").unwrap_or_else(|_| "corpus".to_owned()))
}

/// The cases for the arms with sockets: what a host does before the filter sees a request, and after it has seen the
/// response. The engine and the simulator have no such door.
pub fn front_door() -> Vec<Case> {
    folder("front-door")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: &str = "name: a\nabout: b\nrequests:\n- send: GET a /\n  headers: [x: 1, x: b]\n  expect: {}\n";

    #[test]
    fn a_short_case_has_defaults() {
        let [case] = &read("f", SHORT).unwrap()[..] else { panic!("one case") };
        let [request] = &case.requests[..] else { panic!("one request") };
        assert_eq!((request.times, request.expect.status), (1, 200));
        assert_eq!(request.headers().collect::<Vec<_>>(), [("x", "1"), ("x", "b")]);
    }

    #[test]
    fn behaviours_are_read() {
        let text = format!(
            "{SHORT}behaviour: {{a: [503, hang], b: close, c: {{headers: {{x: [1, 2]}}, after: 20ms}}}}\nskip: {{proxy: why}}\n"
        );
        let [case] = &read("f", &text).unwrap()[..] else { panic!("one case") };
        assert!(matches!(&case.behaviour["a"], Script::InTurn(list) if list.len() == 2 && list[1] == Behaviour::Hang));
        assert!(matches!(&case.behaviour["b"], Script::Always(Behaviour::Close)));
        let Script::Always(Behaviour::Answer(answer)) = &case.behaviour["c"] else { panic!("an answer") };
        assert_eq!((answer.status, answer.headers.len(), answer.after.as_millis()), (200, 2, 20));
    }

    #[test]
    fn what_is_unknown_is_refused_with_its_place() {
        for (text, part) in [
            (SHORT.replace("about", "abuot"), "abuot"),
            (SHORT.replace("expect: {}", "expect: {form: a}"), "form"),
            (SHORT.replace("GET a /", "GET /"), "METHOD HOST TARGET"),
            (format!("{SHORT}behaviour: {{a: burn}}\n"), "burn"),
        ] {
            let error = read("f", &text).unwrap_err();
            assert!(error.contains(part) && error.contains("line"), "{error}");
        }
    }
}
