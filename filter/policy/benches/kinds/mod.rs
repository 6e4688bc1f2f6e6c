//! Every kind of match and of action, as rule number `i` of many: what the benchmarks measure, here and in the compiled
//! filter.
#![allow(unreachable_pub, missing_docs, dead_code, clippy::indexing_slicing, reason = "shared by two benchmarks")]

use serde_json::{Value, json};

/// A kind of match.
pub struct Match {
    pub name: &'static str,
    /// What rule `i` asks for: a match block.
    pub block: fn(usize) -> Value,
    /// Path, method and authority of the request that rule `i` takes, and of no rule before it.
    pub request: fn(usize) -> Request,
}

/// A request, as far as the kinds differ.
pub struct Request {
    pub path: String,
    pub method: String,
    pub authority: String,
    pub headers: Vec<(String, String)>,
}

impl Default for Request {
    fn default() -> Self {
        Self { path: "/".into(), method: "GET".into(), authority: HOST.into(), headers: Vec::new() }
    }
}

/// The host of all rules.
pub const HOST: &str = "shop.example.com";

fn path(i: usize) -> String {
    format!("/api/v1/resource-{i}/")
}

fn at(path: String) -> Request {
    Request { path, ..Request::default() }
}

fn with(name: &str, value: String) -> Request {
    Request { headers: vec![(name.to_owned(), value)], ..Request::default() }
}

pub const MATCHES: &[Match] = &[
    Match { name: "exact uri", block: |i| json!({"uri": {"exact": path(i)}}), request: |i| at(path(i)) },
    Match {
        name: "prefix uri",
        block: |i| json!({"uri": {"prefix": path(i)}}),
        request: |i| at(path(i) + "items?x=y"),
    },
    Match {
        name: "exact uri, any case",
        block: |i| json!({"uri": {"exact": path(i)}, "ignoreUriCase": true}),
        request: |i| at(path(i).to_uppercase()),
    },
    Match {
        name: "prefix uri, any case",
        block: |i| json!({"uri": {"prefix": path(i)}, "ignoreUriCase": true}),
        request: |i| at(path(i).to_uppercase() + "items"),
    },
    Match {
        name: "regex uri, letters first",
        block: |i| json!({"uri": {"regex": format!("/api/v1/resource-{i}/.*")}}),
        request: |i| at(path(i) + "items"),
    },
    Match {
        name: "header exact",
        block: |i| json!({"uri": {"prefix": "/"}, "headers": {"x-user": {"exact": format!("user-{i}")}}}),
        request: |i| with("x-user", format!("user-{i}")),
    },
    Match {
        name: "header prefix",
        block: |i| json!({"uri": {"prefix": "/"}, "headers": {"x-user": {"prefix": format!("user-{i}-")}}}),
        request: |i| with("x-user", format!("user-{i}-abc")),
    },
    Match {
        name: "header presence",
        block: |i| json!({"headers": {format!("x-flag-{i}"): {}}}),
        request: |i| with(&format!("x-flag-{i}"), "1".into()),
    },
    Match {
        name: "header regex, letters first",
        block: |i| json!({"headers": {"x-user": {"regex": format!("user-{i}-[a-z]+")}}}),
        request: |i| with("x-user", format!("user-{i}-abc")),
    },
    Match {
        name: "method",
        block: |i| json!({"method": {"exact": format!("VERB-{i}")}}),
        request: |i| Request { method: format!("VERB-{i}"), ..Request::default() },
    },
    Match {
        name: "authority exact",
        block: |i| json!({"authority": {"exact": format!("{HOST}:{i}")}}),
        request: |i| Request { authority: format!("{HOST}:{i}"), ..Request::default() },
    },
    Match {
        name: "query parameter exact",
        block: |i| json!({"queryParams": {"user": {"exact": format!("{i}")}}}),
        request: |i| at(format!("/?page=2&user={i}")),
    },
    Match {
        name: "query parameter prefix",
        block: |i| json!({"queryParams": {"user": {"prefix": format!("{i}-")}}}),
        request: |i| at(format!("/?page=2&user={i}-abc")),
    },
    Match {
        name: "query parameter presence",
        block: |i| json!({"queryParams": {format!("flag-{i}"): {}}}),
        request: |i| at(format!("/?page=2&flag-{i}")),
    },
    Match {
        name: "prefix and withoutHeaders",
        block: |i| json!({"uri": {"prefix": path(i)}, "withoutHeaders": {"x-debug": {}}}),
        request: |i| at(path(i) + "items"),
    },
    Match {
        name: "withoutHeaders alone",
        // All of them miss one header, and this rule another that no other rule misses.
        block: |i| json!({"withoutHeaders": {"x-debug": {}, format!("x-flag-{i}"): {}}}),
        request: |i| Request {
            headers: (0..i.min(50)).map(|i| (format!("x-flag-{i}"), "1".into())).collect(),
            ..Request::default()
        },
    },
    Match {
        name: "a header shared by all",
        block: |i| json!({"uri": {"prefix": path(i)}, "headers": {"x-user": {"exact": "ann"}}, "method": {"regex": "GET|POST"}}),
        request: |i| Request { headers: vec![("x-user".into(), "ann".into())], ..at(path(i)) },
    },
    Match {
        name: "keys shared by a hundred",
        block: |i| json!({"uri": {"prefix": path(i % 100)}, "headers": {"x-user": {"exact": format!("user-{}", i / 100)}}}),
        request: |i| Request { headers: vec![("x-user".into(), format!("user-{}", i / 100))], ..at(path(i % 100)) },
    },
    Match { name: "all of these, mixed", block: |i| (mixed(i).block)(i), request: |i| (mixed(i).request)(i) },
];

/// The kinds that leave requests of other kinds alone, in turn.
fn mixed(i: usize) -> &'static Match {
    const KINDS: [usize; 10] = [0, 1, 2, 3, 4, 6, 7, 9, 11, 14];
    &MATCHES[KINDS[i % KINDS.len()]]
}

/// A pattern about which no letter is known: these are tried one by one, and that is all there is to know about them.
pub const PLAIN_REGEX: Match = Match {
    name: "regex uri, no letters first",
    block: |i| json!({"uri": {"regex": format!(".*/resource-{i}/.*")}}),
    request: |i| at(path(i) + "items"),
};

/// A kind of action: what rule `i` does.
pub struct Action {
    pub name: &'static str,
    pub fields: fn(usize) -> Value,
}

fn destination(subset: &str) -> Value {
    json!({"host": HOST, "subset": subset, "port": {"number": 80}})
}

pub const ACTIONS: &[Action] = &[
    Action { name: "one destination", fields: |_| json!({"route": [{"destination": destination("v1")}]}) },
    Action {
        name: "weights",
        fields: |_| json!({"route": [{"destination": destination("v1"), "weight": 80}, {"destination": destination("v2"), "weight": 20}]}),
    },
    Action {
        name: "redirect",
        fields: |i| json!({"redirect": {"uri": format!("/moved/{i}"), "authority": "new.example.com", "redirectCode": 302}}),
    },
    Action {
        name: "direct response",
        fields: |i| json!({"directResponse": {"status": 503, "body": {"string": format!("closed, number {i}")}}}),
    },
    Action {
        name: "header edits",
        fields: |i| {
            json!({
                "route": [{"destination": destination("v1"), "headers": {"request": {"add": {"x-from": "shunt"}}}}],
                "headers": {
                    "request": {"set": {"x-rule": format!("{i}"), "x-client": "%DOWNSTREAM_REMOTE_ADDRESS%"}, "remove": ["x-debug"]},
                    "response": {"set": {"x-served-by": "shop"}},
                },
            })
        },
    },
    Action {
        name: "fault and rewrite",
        fields: |i| {
            json!({
                "route": [{"destination": destination("v1")}],
                "rewrite": {"uri": format!("/r/{i}/"), "authority": "inner.example.com"},
                "fault": {"delay": {"fixedDelay": "2s", "percentage": {"value": 1.5}}, "abort": {"httpStatus": 500, "percentage": {"value": 0.5}}},
            })
        },
    },
    Action {
        name: "mirrors and retries",
        // Fifty policies for all rules, each a few profile routes.
        fields: |i| {
            json!({
                "route": [{"destination": destination("v1")}],
                "mirrors": [{"destination": destination("v2"), "percentage": {"value": 10}}, {"destination": destination("v3")}],
                "retries": {"attempts": i % 50 + 1, "retryOn": "5xx"}, "timeout": "8s",
            })
        },
    },
    Action {
        name: "CORS",
        fields: |i| {
            json!({
                "route": [{"destination": destination("v1")}],
                "corsPolicy": {"allowOrigins": [{"exact": format!("https://{i}.example.com")}], "allowMethods": ["GET", "POST"], "maxAge": "24h"},
            })
        },
    },
];

/// A VirtualService with so many rules.
pub fn virtual_service(rules: usize, block: fn(usize) -> Value, action: fn(usize) -> Value) -> Value {
    let rule = |i| {
        let mut rule = action(i);
        rule["match"] = json!([block(i)]);
        rule
    };
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "shop"},
        "spec": {"hosts": [HOST], "http": (0..rules).map(rule).collect::<Vec<_>>()},
    })
}
