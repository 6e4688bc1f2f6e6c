//! The targets: bytes in, nothing out; what must hold is asserted.

use crate::objects;
use crate::requests::{self, HOSTS, Head};
use arbitrary::{Result, Unstructured};
use envoy_plan::{PathNormalization, Plan};
use istio_config::filter_config::Tracing;
use istio_config::{Config, Diagnostics, FilterConfig, Severity, yaml};
use serde_json::{Value, json};
use traffic_filter::{configuration, pairs, protobuf};
use traffic_policy::breaker::Admission;
use traffic_policy::{Decision, Draw, Edit, Fact, LocalReply, Policy, RequestHead, ResponseRule};

/// A target: its name, what runs it, and whether its input is text or something like it, so that chance alone gets nowhere
/// and seeds are changed instead.
pub struct Target {
    /// As in `seeds/NAME/` and `make fuzz`.
    pub name: &'static str,
    /// Runs it on one input.
    pub run: fn(&[u8]),
    /// Whether most inputs are changed seeds.
    pub wants_seeds: bool,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "reader", run: reader, wants_seeds: true },
    Target { name: "configuration", run: configuration, wants_seeds: true },
    Target { name: "compiler", run: compiler, wants_seeds: false },
    Target { name: "matcher", run: matcher, wants_seeds: false },
    Target { name: "edits", run: edits, wants_seeds: false },
    Target { name: "request_head", run: request_head, wants_seeds: false },
    Target { name: "header_pairs", run: header_pairs, wants_seeds: false },
    Target { name: "path", run: path, wants_seeds: false },
    Target { name: "trace", run: trace, wants_seeds: false },
    Target { name: "context", run: context, wants_seeds: false },
];

/// YAML and JSON files, as a user hands them over: everything that is found has a place.
pub fn reader(data: &[u8]) {
    let (mut config, mut sources, mut diagnostics) =
        (Config::default(), yaml::Sources::default(), Diagnostics::default());
    yaml::read_bytes("file", data, &mut config, &mut sources, &mut diagnostics);
    for found in diagnostics.iter() {
        assert!(sources.locate(&found.object, &found.path).is_some(), "{found}");
    }
    let _ = carry_out(config);
}

/// The bytes of a plugin configuration, as the filter takes them from its host.
pub fn configuration(data: &[u8]) {
    let outcome = configuration::compile(data.to_vec());
    let refused = outcome.messages.iter().any(|(severity, _)| *severity == Severity::Error);
    assert_eq!(outcome.policy.is_none(), refused, "{:?}", outcome.messages);
    if let Some(value) = protobuf::decode_struct(data) {
        assert_eq!(protobuf::decode_struct(&encode_struct(&value)), Some(value));
    }
}

/// Objects to plan, policy and files; and requests through the policy.
pub fn compiler(data: &[u8]) {
    let _ = try_compiler(&mut Unstructured::new(data));
}

fn try_compiler(u: &mut Unstructured<'_>) -> Result<()> {
    let objects = objects::objects(u)?;
    let document = json!({"objects": objects});
    let (text, bytes) = (document.to_string().into_bytes(), encode_struct(&document));
    let (text, bytes) = (configuration::compile(text), configuration::compile(bytes));
    assert_eq!(text.messages, bytes.messages, "as text and as a Struct, the same is found");
    assert_eq!(text.policy.is_some(), bytes.policy.is_some());
    let mut config = Config::default();
    for object in objects {
        config.add(object, &mut Diagnostics::default());
    }
    let Some((plan, policy)) = carry_out(config) else { return Ok(()) };
    for _ in 0..u.int_in_range(1..=4)? {
        let head = requests::head(u)?;
        let mut chance = Chance(u);
        match policy.decide(&RequestHead::new(&requests::pairs(&head)), &mut chance) {
            Decision::Forward(forward) => {
                let known = |name: &str| plan.profiles.iter().any(|profile| profile.name == name);
                assert!(forward.profile.is_none_or(known), "profile {:?} is not in the plan", forward.profile);
                check_edits(&forward.edits);
                check_line(forward.path.as_deref().unwrap_or_default(), &head);
                check_response(&policy, forward.response.as_ref(), u)?;
            }
            Decision::Pass => {}
            Decision::Reply(reply) => {
                assert!((200..=599).contains(&reply.status), "{}", reply.status);
                reply.headers.iter().for_each(|(_, value)| check_line(value, &head));
                check_response(&policy, reply.response.as_ref(), u)?;
            }
        }
    }
    Ok(())
}

/// Plan, bindings, policy and Envoy's files of a configuration; `None` when it is refused.
fn carry_out(config: Config) -> Option<(Plan, Policy)> {
    let mut diagnostics = Diagnostics::default();
    let (plan, bindings) = Plan::build(&config, &mut diagnostics);
    let config = FilterConfig { config, bindings, namespace: "default".to_owned(), ..FilterConfig::default() };
    let policy = Policy::compile(&config, &mut diagnostics)?;
    let address = ([127, 0, 0, 1], 1).into();
    let options = envoy_render::Options {
        listen: address,
        admin: address,
        path_normalization: envoy_plan::PathNormalization::Base,
        application: None,
    };
    let rendered = envoy_render::bootstrap(&plan, &config, b"", &options);
    assert!(rendered.is_object());
    Some((plan, policy))
}

/// The first rule that matches, however the index finds it, is the first of those that match alone.
pub fn matcher(data: &[u8]) {
    let _ = try_matcher(&mut Unstructured::new(data));
}

fn try_matcher(u: &mut Unstructured<'_>) -> Result<()> {
    let heads: Vec<Head> = (0..u.int_in_range(1..=4)?).map(|_| requests::head(u)).collect::<Result<_>>()?;
    let mut rules = Vec::new();
    let mut alone = Vec::new();
    for _ in 0..u.int_in_range(1..=24)? {
        if u.is_empty() {
            break;
        }
        // The answer says which rule it was.
        let body = rules.len().to_string();
        let block = objects::match_block(u)?;
        let ends = takes_all(&block);
        let rule = json!({"match": [block], "directResponse": {"status": 200, "body": {"string": body}}});
        if let Some(policy) = only(vec![rule.clone()]) {
            rules.push(rule);
            alone.push(policy);
            // Istio makes no routes behind it, whatever it does not take in the end: a request without a path.
            if ends {
                break;
            }
        }
    }
    let Some(policy) = only(rules) else { return Ok(()) };
    for head in &heads {
        let pairs = requests::pairs(head);
        let expected = alone.iter().position(|policy| answer(policy, &pairs).is_some());
        assert_eq!(answer(&policy, &pairs), expected.map(|rule| rule.to_string()));
    }
    Ok(())
}

/// Whether Istio sees that a block takes every request.
fn takes_all(block: &Value) -> bool {
    let any_path = match (block["uri"]["prefix"].as_str(), block["uri"]["regex"].as_str()) {
        (Some(prefix), _) => prefix.is_empty() || prefix == "/",
        (None, Some(pattern)) => pattern == ".*",
        (None, None) => block["uri"]["exact"].is_null(),
    };
    let conditions = ["scheme", "method", "authority", "headers", "queryParams", "withoutHeaders"];
    any_path && conditions.iter().all(|field| block[*field].is_null())
}

/// A policy of these rules, for every host.
fn only(rules: Vec<Value>) -> Option<Policy> {
    let (mut config, mut diagnostics) = (Config::default(), Diagnostics::default());
    config.add(objects::virtual_service("rules", &["*"], rules), &mut diagnostics);
    let config = FilterConfig { config, namespace: "default".to_owned(), ..FilterConfig::default() };
    Policy::compile(&config, &mut diagnostics).filter(|_| !diagnostics.has_errors())
}

/// The body of a rule's answer; `None` when no rule takes the request.
fn answer(policy: &Policy, pairs: &[traffic_policy::HeaderPair<'_>]) -> Option<String> {
    match policy.decide(&RequestHead::new(pairs), &mut || 0) {
        Decision::Reply(LocalReply { status: 200, body, .. }) => Some(String::from_utf8(body.to_vec()).unwrap()),
        Decision::Reply(_) | Decision::Pass => None,
        Decision::Forward(forward) => panic!("there is nothing to forward to: {forward:?}"),
    }
}

/// Header edits and their values: one line each, never about what belongs to filter and host.
pub fn edits(data: &[u8]) {
    let _ = try_edits(&mut Unstructured::new(data));
}

fn try_edits(u: &mut Unstructured<'_>) -> Result<()> {
    let mut route = Vec::new();
    for _ in 0..u.int_in_range(1..=3)? {
        route.push(
            json!({"destination": {"host": "a", "port": {"number": 80}}, "weight": 1, "headers": objects::headers(u)?}),
        );
    }
    let rule = json!({"route": route, "headers": objects::headers(u)?});
    let Some(policy) = only(vec![rule]) else { return Ok(()) };
    let mut head = requests::head(u)?;
    head.push((b":authority".to_vec(), b"a".to_vec()));
    match policy.decide(&RequestHead::new(&requests::pairs(&head)), &mut Chance(u)) {
        Decision::Forward(forward) => {
            check_edits(&forward.edits);
            check_response(&policy, forward.response.as_ref(), u)?;
        }
        // The authority was too long for a name.
        Decision::Reply(reply) => assert_eq!(reply.status, 404),
        Decision::Pass => unreachable!("there is no listener of Istio's"),
    }
    Ok(())
}

fn check_response(policy: &Policy, rule: Option<&ResponseRule>, u: &mut Unstructured<'_>) -> Result<()> {
    let Some(rule) = rule else { return Ok(()) };
    let head = if rule.needs_headers() { requests::head(u)? } else { Head::new() };
    check_edits(&policy.response_edits(rule, &requests::pairs(&head)));
    Ok(())
}

fn check_edits(edits: &[Edit<'_>]) {
    for edit in edits {
        let (name, value) = match edit {
            Edit::Set(name, value) | Edit::Add(name, value) => (name, &**value),
            Edit::Remove(name) => (name, &b""[..]),
        };
        assert!(!name.is_empty() && !name.starts_with(':') && !name.starts_with("x-shunt-"), "{edit:?}");
        assert!(*name == name.to_ascii_lowercase(), "{edit:?}");
        // CORS answers with the origin as it came; every host refuses a request with a line end in it.
        if *name != "access-control-allow-origin" {
            assert!(!value.iter().any(|byte| b"\r\n\0".contains(byte)), "{edit:?}");
        }
    }
}

/// What the engine makes of a head has no line ends but those the client sent.
fn check_line(value: &[u8], head: &Head) {
    let has = |value: &[u8]| value.iter().any(|byte| b"\r\n\0".contains(byte));
    assert!(!has(value) || head.iter().any(|(_, sent)| has(sent)), "{value:?}");
}

/// Draws and facts from what is left of the input.
struct Chance<'c, 'd>(&'c mut Unstructured<'d>);

impl Draw for Chance<'_, '_> {
    fn draw(&mut self) -> u64 {
        self.0.arbitrary().unwrap_or_default()
    }

    fn falls_back(&mut self, _: u32) -> bool {
        self.0.arbitrary().unwrap_or_default()
    }

    fn admits(&mut self, _: u32, _: u32) -> Admission {
        self.0.choose(&[Admission::Yes, Admission::Probe, Admission::No]).copied().unwrap_or(Admission::Yes)
    }

    fn fact(&mut self, _: Fact) -> Option<Vec<u8>> {
        requests::value(self.0).ok()
    }
}

/// Path, query and host, taken apart.
pub fn request_head(data: &[u8]) {
    let _ = try_request_head(&mut Unstructured::new(data));
}

fn try_request_head(u: &mut Unstructured<'_>) -> Result<()> {
    let hosts: Vec<Policy> = HOSTS.iter().filter_map(|host| hosts_of(&[host])).collect();
    let all = hosts_of(&HOSTS).expect("these hosts are sound");
    let (target, authority) = (requests::target(u)?, requests::authority(u)?);
    let pairs: [(&[u8], &[u8]); 2] = [(b":path", &target), (b":authority", &authority)];
    let head = RequestHead::new(&pairs);

    let mut joined = head.path().to_vec();
    if let Some(query) = head.query() {
        joined.push(b'?');
        joined.extend(query);
    }
    let end = target.iter().position(|byte| *byte == b'#').unwrap_or(target.len());
    assert_eq!(joined, &target[..end]);
    assert!(!head.path().contains(&b'?'));
    for (name, value) in head.query_parameters() {
        assert!(!name.contains(&b'=') && !name.contains(&b'&') && !value.contains(&b'&'));
        let first = head.query_parameters().find(|(other, _)| *other == name).map(|(_, value)| value);
        assert_eq!(head.query_parameter(name), first);
    }

    // A host is the same host in capitals, with a port, and with a trailing dot; and some host has it if one alone has.
    let serves = |policy: &Policy, authority: &[u8]| {
        let pairs: [(&[u8], &[u8]); 1] = [(b":authority", authority)];
        matches!(policy.decide(&RequestHead::new(&pairs), &mut || 0), Decision::Forward(_))
    };
    assert_eq!(serves(&all, &authority), hosts.iter().any(|policy| serves(policy, &authority)));
    for policy in &hosts {
        let served = serves(policy, &authority);
        assert_eq!(serves(policy, &authority.to_ascii_uppercase()), served);
        if authority.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(byte)) && authority.len() < 250 {
            assert_eq!(serves(policy, &[&authority[..], b":8080"].concat()), served);
            if !authority.ends_with(b".") {
                assert_eq!(serves(policy, &[&authority[..], b"."].concat()), served);
            }
        }
    }
    Ok(())
}

/// A policy that forwards every request to these hosts.
fn hosts_of(hosts: &[&str]) -> Option<Policy> {
    let rule = json!({"route": [{"destination": {"host": "a", "port": {"number": 80}}}]});
    let mut config = Config::default();
    config.add(objects::virtual_service("rules", hosts, vec![rule]), &mut Diagnostics::default());
    let config = FilterConfig { config, namespace: "default".to_owned(), ..FilterConfig::default() };
    Policy::compile(&config, &mut Diagnostics::default())
}

/// The host's encoding of a header map, right and wrong.
pub fn header_pairs(data: &[u8]) {
    let read = pairs::read(data);
    let bytes: usize = read.iter().map(|(name, value)| name.len() + value.len() + 10).sum();
    assert!(bytes <= data.len(), "more came out than went in");
    assert_eq!(pairs::read(&pairs::write(&read)), read);
    // What was read decides like any other request.
    RequestHead::new(&read).query_parameters().for_each(drop);
}

/// What a host does to a request target before a rule sees it: no dot segment is left, and no slash beside another where
/// they are merged.
pub fn path(data: &[u8]) {
    let how = PathNormalization::ALL[data.first().map_or(0, |byte| usize::from(*byte) % PathNormalization::ALL.len())];
    let rest = data.get(1..).unwrap_or_default();
    // Most bytes would only be refused.
    let letters: Vec<u8> = rest.iter().map(|byte| b"/.%2eEfFcC0;\\ab|?~"[usize::from(*byte) % 18]).collect();
    for target in [rest, &[b"/", &*letters].concat()] {
        let Ok(admitted) = upstream::arrival::admit(b"GET", b"a", target, how) else { continue };
        assert!(admitted.starts_with(b"/"), "{admitted:?}");
        let path = admitted.split(|byte| *byte == b'?').next().unwrap_or_default();
        if how != PathNormalization::None {
            let is_dots = |segment: &[u8]| segment == b"." || segment == b"..";
            assert!(!path.split(|byte| *byte == b'/').any(is_dots), "{}", String::from_utf8_lossy(path));
            assert!(!path.contains(&b'\\'), "{}", String::from_utf8_lossy(path));
        }
        if matches!(how, PathNormalization::MergeSlashes | PathNormalization::DecodeAndMergeSlashes) {
            let only_slashes = path.iter().all(|byte| *byte == b'/');
            assert!(only_slashes || !path.windows(2).any(|pair| pair == b"//"), "{}", String::from_utf8_lossy(path));
        }
    }
}

/// Trace headers, right and wrong, under a span of their own: what is written is an id of the same form.
pub fn trace(data: &[u8]) {
    let _ = try_trace(&mut Unstructured::new(data));
}

fn try_trace(u: &mut Unstructured<'_>) -> Result<()> {
    const PARTS: [&str; 9] =
        ["00", "01", "ff", "1", "d", "-", "b7ad6b7169203331", "0af7651916cd43dd8448eb211c80319c", "0000000000000000"];
    let rule = json!({"route": [{"destination": {"host": "a", "port": {"number": 80}}}]});
    let (mut config, mut diagnostics) = (Config::default(), Diagnostics::default());
    config.add(objects::virtual_service("rules", &["*"], vec![rule]), &mut diagnostics);
    let tracing = Tracing { fresh_spans: true };
    let config = FilterConfig { config, tracing, namespace: "default".to_owned(), ..FilterConfig::default() };
    let Some(policy) = Policy::compile(&config, &mut diagnostics) else { return Ok(()) };
    let mut head: Head = vec![(b":authority".to_vec(), b"a".to_vec()), (b":path".to_vec(), b"/".to_vec())];
    for _ in 0..u.int_in_range(0..=5)? {
        let name = requests::choose(u, &["traceparent", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid"])?;
        let mut value = Vec::new();
        for _ in 0..u.int_in_range(0..=7)? {
            value.extend(requests::choose(u, &PARTS)?.as_bytes());
        }
        if u.ratio(1, 8)? {
            value.extend(u.arbitrary::<&[u8]>()?);
        }
        head.push((name.as_bytes().to_vec(), value));
    }
    let Decision::Forward(forward) = policy.decide(&RequestHead::new(&requests::pairs(&head)), &mut Chance(u)) else {
        panic!("the rule takes every request");
    };
    for edit in &forward.edits {
        let Edit::Set(name, value) = edit else { panic!("{edit:?}") };
        let before = head.iter().find(|(own, _)| own == name.as_bytes()).map_or(16, |(_, before)| before.len());
        let is_text =
            value.iter().all(|byte| byte.is_ascii_hexdigit() || b"-d".contains(byte) || *name == "traceparent");
        assert!(is_text && value.len() <= before.max(16) + 17, "{edit:?}");
    }
    Ok(())
}

/// Requests that come in, of a few ids, over a slot that anybody may have written into, and one that leaves: what it gets, all of
/// its id have said.
pub fn context(data: &[u8]) {
    let _ = try_context(&mut Unstructured::new(data));
}

fn try_context(u: &mut Unstructured<'_>) -> Result<()> {
    const IDS: [&str; 4] = ["one", "two", "three", "four"];
    const NAMES: [&str; 5] = ["x-user", "baggage", "x-b3-traceid", "x-b3-sampled", "b3"];
    const VALUES: [&str; 4] = ["anna", "bert", "1", "0af7651916cd43dd8448eb211c80319c"];
    let rule = json!({"route": [{"destination": {"host": "a", "port": {"number": 80}}}]});
    let propagate = json!({"to": ["a"], "headers": NAMES, "capacity": 1, "overwrite": u.arbitrary::<bool>()?});
    let policy = json!({"apiVersion": "shunt.dev/v1alpha1", "kind": "ShuntPolicy", "metadata": {"name": "context"},
        "spec": {"propagate": propagate}});
    let (mut config, mut diagnostics) = (Config::default(), Diagnostics::default());
    config.add(objects::virtual_service("rules", &["a.default.svc.cluster.local"], vec![rule]), &mut diagnostics);
    config.add(policy, &mut diagnostics);
    let config = FilterConfig { config, namespace: "default".to_owned(), ..FilterConfig::default() };
    let Some(policy) = Policy::compile(&config, &mut diagnostics) else { panic!("{diagnostics:?}") };
    let Some(propagation) = policy.propagation() else { panic!("there is something to keep") };
    let head = |u: &mut Unstructured<'_>| -> Result<(&'static str, Head)> {
        let id = requests::choose(u, &IDS)?;
        let mut head: Head = vec![(b":authority".to_vec(), b"a".to_vec()), (b":path".to_vec(), b"/".to_vec())];
        head.push((b"x-request-id".to_vec(), id.as_bytes().to_vec()));
        for _ in 0..u.int_in_range(0..=4)? {
            let value = match u.ratio(1, 16)? {
                true => vec![b'x'; u.int_in_range(0..=10_000)?],
                false => requests::choose(u, &VALUES)?.as_bytes().to_vec(),
            };
            head.push((requests::choose(u, &NAMES)?.as_bytes().to_vec(), value));
        }
        Ok((id, head))
    };
    let (mut slot, now) = (if u.ratio(1, 4)? { u.arbitrary::<&[u8]>()?.to_vec() } else { Vec::new() }, 1_000_000);
    let foreign = !slot.is_empty();
    let mut said: Vec<(&str, Head)> = Vec::new();
    for at in 0..u.int_in_range(0..=6)? {
        let (id, head) = head(u)?;
        let pairs = requests::pairs(&head);
        let request = RequestHead::new(&pairs);
        let Some(own) = propagation.id(&request) else { panic!("{id} is an id") };
        slot = propagation.keep(&request, &own, &slot, now + at).value;
        assert!(slot.len() <= traffic_policy::propagate::ENTRY_BYTES_MAX);
        said.push((id, head));
    }
    let (id, own) = head(u)?;
    let pairs = requests::pairs(&own);
    let request = RequestHead::new(&pairs);
    let Some(key) = propagation.id(&request) else { panic!("{id} is an id") };
    let context = propagation.context(&key, &slot, now + 10);
    let (_, edits) = policy.decide_in(context.as_ref(), &request, &mut Chance(u));
    for edit in edits.iter().filter(|_| !foreign) {
        let (Edit::Set(name, value) | Edit::Add(name, value)) = edit else { continue };
        let tracing = name.contains("b3");
        let has = |head: &Head| head.iter().any(|(own, known)| own == name.as_bytes() && known[..] == value[..]);
        let mut of_id = said.iter().filter(|(known, _)| *known == id).map(|(_, head)| head);
        assert!(if tracing { of_id.any(has) } else { of_id.all(has) }, "{edit:?} of {id}: {said:?}");
    }
    Ok(())
}

/// `google.protobuf.Struct`, as Envoy encodes it.
fn encode_struct(value: &Value) -> Vec<u8> {
    let Value::Object(fields) = value else { return Vec::new() };
    let entry = |(key, value): (&String, &Value)| {
        field(1, &[field(1, key.as_bytes()), field(2, &encode_value(value))].concat())
    };
    fields.iter().flat_map(entry).collect()
}

fn encode_value(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => vec![1 << 3, 0],
        Value::Bool(truth) => vec![4 << 3, u8::from(*truth)],
        Value::Number(number) => [&[2 << 3 | 1][..], &number.as_f64().unwrap_or_default().to_le_bytes()].concat(),
        Value::String(text) => field(3, text.as_bytes()),
        Value::Object(_) => field(5, &encode_struct(value)),
        Value::Array(items) => {
            field(6, &items.iter().flat_map(|item| field(1, &encode_value(item))).collect::<Vec<_>>())
        }
    }
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(bytes);
    out
}
