//! Inputs of size n, each of a shape that would show work growing faster than its input: `cargo run --bin growth` takes the
//! time of n and of 8 n.

use crate::objects;
use istio_config::{Config, Diagnostics, FilterConfig, yaml};
use serde_json::{Value, json};
use traffic_filter::{configuration, pairs};
use traffic_policy::{HeaderPair, Policy, RequestHead};

/// Work that is ready to be timed.
pub type Work = Box<dyn Fn()>;

/// A shape of input: its name, the size to begin with, and the work on size n.
pub struct Shape {
    /// What is many or long.
    pub name: &'static str,
    /// Size n; 8 n is tried too.
    pub size: usize,
    /// Prepares the work on one size.
    pub prepare: fn(usize) -> Work,
}

/// Every shape.
pub const SHAPES: &[Shape] = &[
    Shape { name: "yaml: values", size: 5_000, prepare: |n| yaml("- {a: [1, 2, 'x']}\n".repeat(n)) },
    Shape { name: "yaml: a long text", size: 100_000, prepare: |n| yaml(format!("a: \"{}\"", "\\u00e9 ".repeat(n))) },
    Shape { name: "yaml: open brackets", size: 2_000, prepare: |n| yaml("[".repeat(n)) },
    Shape {
        name: "yaml: anchors",
        size: 2_000,
        prepare: |n| yaml((0..n).map(|i| format!("- &a{i} [x]\n- *a{i}\n")).collect()),
    },
    Shape { name: "yaml: documents", size: 1_000, prepare: |n| yaml("---\na: b\n".repeat(n)) },
    Shape {
        name: "yaml: keys of one map",
        size: 5_000,
        prepare: |n| yaml((0..n).map(|i| format!("key{i}: x\n")).collect()),
    },
    Shape { name: "json: one long unknown field", size: 20_000, prepare: |n| configure(vec![unknown_field(n)]) },
    Shape {
        name: "rules",
        size: 500,
        prepare: |n| configure(vec![service("r", &["a"], numbered(n, |i| forward(i, json!({}))))]),
    },
    Shape {
        name: "rules with bindings",
        size: 500,
        prepare: |n| {
            let binding = |i| json!({"virtualService": "default/r", "http": i, "profiles": [format!("p{i}")]});
            let rules = numbered(n, |i| forward(i, json!({})));
            configure_with(vec![service("r", &["a"], rules)], numbered(n, binding))
        },
    },
    Shape {
        name: "rules with a finding each",
        size: 500,
        prepare: |n| configure(vec![service("r", &["a"], numbered(n, |i| forward(i, json!({"uri": {}}))))]),
    },
    Shape {
        name: "match blocks of one rule",
        size: 500,
        prepare: |n| configure(vec![service("r", &["a"], vec![many_blocks(n)])]),
    },
    Shape {
        name: "VirtualServices",
        size: 500,
        prepare: |n| {
            configure(numbered(n, |i| {
                service(&format!("r{i}"), &[&format!("h{i}.example.com")], vec![forward(i, json!({}))])
            }))
        },
    },
    Shape {
        name: "hosts of one VirtualService",
        size: 500,
        prepare: |n| {
            let hosts: Vec<String> = (0..n).map(|i| format!("h{i}.example.com")).collect();
            configure(vec![service(
                "r",
                &hosts.iter().map(String::as_str).collect::<Vec<_>>(),
                vec![forward(0, json!({}))],
            )])
        },
    },
    Shape {
        name: "services, each with rules",
        size: 300,
        prepare: |n| {
            let host = |i| format!("h{i}.example.com");
            let rules = numbered(n, |i| service(&format!("r{i}"), &[&host(i)], vec![forward(i, json!({}))]));
            let entry =
                |i| object("ServiceEntry", &format!("e{i}"), json!({"hosts": [host(i)], "ports": [{"number": 80}]}));
            configure([rules, numbered(n, entry)].concat())
        },
    },
    Shape {
        name: "delegates",
        size: 200,
        prepare: |n| {
            let root = numbered(
                n,
                |i| json!({"match": [{"uri": {"prefix": format!("/{i}/")}}], "delegate": {"name": format!("leaf{i}")}}),
            );
            let leaf = |i| service(&format!("leaf{i}"), &[], vec![json!({"route": route()})]);
            configure([vec![service("r", &["a"], root)], numbered(n, leaf)].concat())
        },
    },
    Shape {
        name: "rules merged by a Gateway",
        size: 800,
        prepare: |n| {
            let bound = |i| {
                let mut service = service(&format!("r{i}"), &["a.example.com"], vec![forward(i, json!({}))]);
                service["spec"]["gateways"] = json!(["g"]);
                service
            };
            let servers = json!([{"port": {"number": 80, "name": "h", "protocol": "HTTP"}, "hosts": ["*"]}]);
            configure([vec![object("Gateway", "g", json!({"servers": servers}))], numbered(n, bound)].concat())
        },
    },
    Shape {
        name: "commands of one header value",
        size: 5_000,
        prepare: |n| configure(vec![value_rule("%PROTOCOL%".repeat(n))]),
    },
    Shape {
        name: "brackets of one header value",
        size: 5_000,
        prepare: |n| configure(vec![value_rule("%REQ(a)%".repeat(n))]),
    },
    Shape {
        name: "groups of a substitution",
        size: 5_000,
        prepare: |n| configure(vec![substitution_rule(r"\0".repeat(n))]),
    },
    Shape {
        name: "request: a long path",
        size: 5_000,
        prepare: |n| decide(paths(), format!("/a{}", "/x".repeat(n)), vec![]),
    },
    Shape { name: "request: query parameters", size: 500, prepare: |n| decide(parameters(), query(n), vec![]) },
    Shape {
        name: "request: one parameter, repeated",
        size: 2_000,
        prepare: |n| decide(parameters(), format!("/?{}", "q7=v&".repeat(n)), vec![]),
    },
    Shape {
        name: "request: headers",
        size: 200,
        prepare: |n| decide(header_rules(), "/".into(), (0..n).map(|i| (format!("h{i}"), "v".into())).collect()),
    },
    Shape {
        name: "request: one header, repeated",
        size: 500,
        prepare: |n| decide(header_rules(), "/".into(), vec![("h7".to_owned(), "v".to_owned()); n]),
    },
    Shape {
        name: "request: a path for patterns",
        size: 2_000,
        prepare: |n| {
            let patterns = ["(a*)*b", "(?:a|aa)+b", ".*a.*a.*a.*b", "/(?:[^/]+/)*x"];
            let rules = patterns.iter().map(|p| json!({"match": [{"uri": {"regex": p}}], "route": route()})).collect();
            decide(rules, format!("/{}", "a/".repeat(n)), vec![])
        },
    },
    Shape {
        name: "request: rewritten by a pattern",
        size: 2_000,
        prepare: |n| {
            let rewrite = json!({"uriRegexRewrite": {"match": "/(a)", "rewrite": r"/\1\1"}});
            decide(vec![json!({"route": route(), "rewrite": rewrite})], "/a".repeat(n), vec![])
        },
    },
    Shape { name: "request: a long Host", size: 50_000, prepare: |n| decide_host("a.".repeat(n) + "example.com") },
    Shape {
        name: "header pairs",
        size: 5_000,
        prepare: |n| {
            let encoded = pairs::write(&vec![(&b"name"[..], &b"value"[..]); n]);
            Box::new(move || assert!(!pairs::read(&encoded).is_empty()))
        },
    },
];

fn yaml(text: String) -> Work {
    Box::new(move || {
        let mut sources = yaml::Sources::default();
        yaml::read("file", &text, &mut Config::default(), &mut sources, &mut Diagnostics::default());
    })
}

fn configure(objects: Vec<Value>) -> Work {
    configure_with(objects, Vec::new())
}

fn configure_with(objects: Vec<Value>, bindings: Vec<Value>) -> Work {
    let bytes = json!({"objects": objects, "bindings": bindings}).to_string().into_bytes();
    Box::new(move || drop(configuration::compile(bytes.clone())))
}

fn numbered(n: usize, item: impl Fn(usize) -> Value) -> Vec<Value> {
    (0..n).map(item).collect()
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn service(name: &str, hosts: &[&str], http: Vec<Value>) -> Value {
    objects::virtual_service(name, hosts, http)
}

fn route() -> Value {
    json!([{"destination": {"host": "a", "port": {"number": 80}}}])
}

/// Rule `i`, with more conditions.
fn forward(i: usize, more: Value) -> Value {
    let mut block = more;
    if block.get("uri").is_none() {
        block["uri"] = json!({"prefix": format!("/r{i}/")});
    } else {
        block["headers"] = json!({"x": {"exact": format!("{i}")}});
    }
    json!({"match": [block], "route": route()})
}

fn many_blocks(n: usize) -> Value {
    json!({"match": numbered(n, |i| json!({"uri": {"exact": format!("/{i}")}})), "route": route()})
}

fn unknown_field(n: usize) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "r"}, "spec": {"h".repeat(n): 1}})
}

fn value_rule(value: String) -> Value {
    service("r", &["a"], vec![json!({"route": route(), "headers": {"request": {"set": {"x": value}}}})])
}

fn substitution_rule(text: String) -> Value {
    service(
        "r",
        &["a"],
        vec![json!({"route": route(), "rewrite": {"uriRegexRewrite": {"match": "a", "rewrite": text}}})],
    )
}

/// Prefixes of each other, and one rule at the end that takes everything.
fn paths() -> Vec<Value> {
    numbered(
        200,
        |i| json!({"match": [{"uri": {"prefix": format!("/a{}y", "/x".repeat(i))}, "ignoreUriCase": i % 2 == 0}], "route": route()}),
    )
}

fn parameters() -> Vec<Value> {
    numbered(
        1_000,
        |i| json!({"match": [{"queryParams": {format!("q{i}"): {"prefix": "v"}}, "method": {"exact": "NO"}}], "route": route()}),
    )
}

fn query(n: usize) -> String {
    format!("/?{}", (0..n).map(|i| format!("q{i}=v&")).collect::<String>())
}

fn header_rules() -> Vec<Value> {
    numbered(
        200,
        |i| json!({"match": [{"headers": {format!("h{i}"): {"prefix": "v"}}, "uri": {"regex": ".*no"}}], "route": route()}),
    )
}

fn decide(rules: Vec<Value>, path: String, headers: Vec<(String, String)>) -> Work {
    let policy = policy(service("r", &["*"], rules));
    Box::new(move || {
        let mut pairs: Vec<HeaderPair<'_>> =
            vec![(b":method", b"GET"), (b":authority", b"a"), (b":path", path.as_bytes())];
        pairs.extend(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let _ = policy.decide(&RequestHead::new(&pairs), &mut || 0);
    })
}

fn decide_host(host: String) -> Work {
    let policy = policy(service("r", &["*.example.com", "*-x.example.com"], vec![json!({"route": route()})]));
    Box::new(move || {
        let pairs: [HeaderPair<'_>; 2] = [(b":authority", host.as_bytes()), (b":path", b"/")];
        let _ = policy.decide(&RequestHead::new(&pairs), &mut || 0);
    })
}

fn policy(service: Value) -> Policy {
    let (mut config, mut diagnostics) = (Config::default(), Diagnostics::default());
    config.add(service, &mut diagnostics);
    let config = FilterConfig { config, namespace: "default".to_owned(), ..FilterConfig::default() };
    let policy = Policy::compile(&config, &mut diagnostics);
    policy.unwrap_or_else(|| panic!("{:?}", diagnostics.iter().collect::<Vec<_>>()))
}
