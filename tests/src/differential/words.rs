//! What rules and requests are made of: few enough words that requests meet rules, odd enough that edges are met.

use crate::chance::SplitMix;
use serde_json::{Value, json};

/// Paths of requests, before they are normalised.
pub const PATHS: [&str; 22] = [
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a/bc",
    "/A",
    "/ab",
    "/b",
    "/b/a",
    "/api/v1/items",
    "/api/v2",
    "/static/x.js",
    "/a%20b",
    "/a//b",
    "/a/../b",
    "/a/./b",
    "/a;x=1/b",
    "/%61",
    "/a%2Fb",
    "/a/b/../../api/v1",
    "//a",
    "/b.",
];

/// Paths of rules.
pub const RULE_PATHS: [&str; 11] =
    ["/", "/a", "/a/b", "/A", "/ab", "/b", "/api/v1", "/api/v1/items", "/static/", "/a/", "/a//b"];

/// Patterns of rules for paths.
pub const PATH_PATTERNS: [&str; 9] =
    [".*", "/a.*", "/[ab]", "/api/v[0-9]+(/.*)?", "/a(/b)?", "(?i)/A.*", "/(a|b)/[^/]+", "/a|/b", r"/static/.*\.js"];

/// Names of headers of requests, as rules and clients write them.
pub const HEADERS: [&str; 8] =
    ["x-user", "x-team", "X-Beta", "cookie", "accept-language", "user-agent", "x-b3-traceid", "referer"];

/// Their values.
pub const VALUES: [&str; 12] =
    ["ann", "bob", "Ann", "", "ann,bob", "a b", "1", "anna", "user=ann; team=x", "de-DE,de;q=0.9", r"caf\xe9", "%41"];

/// Names of query parameters.
pub const PARAMETERS: [&str; 4] = ["q", "user", "v", "Q"];

/// Query strings of requests.
pub const QUERIES: [&str; 14] = [
    "",
    "",
    "",
    "q=1",
    "q=1&q=2",
    "user=ann",
    "v=2&user=bob",
    "q",
    "q=",
    "Q=1",
    "q=%31",
    "user=ann;v=2",
    "a=q=1",
    "q=1?v=2",
];

/// Methods of requests.
pub const METHODS: [&str; 9] = ["GET", "GET", "GET", "GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"];

/// Values that rules write into headers.
pub const WRITTEN: [&str; 14] = [
    "set",
    "a, b",
    "",
    "100%%",
    "%REQ(x-user)%",
    "u-%REQ(X-USER)%-%REQ(x-team)%",
    "%REQ(:path)%",
    "%REQ(:authority)%",
    "%REQ(x-none?x-user)%",
    "%REQ(x-user):2%",
    "%PROTOCOL%",
    "%UPSTREAM_CLUSTER%",
    "%REQ(:method)%",
    " padded ",
];

/// Values that rules write into headers of responses. No rule edits `cookie`: where a cluster does not exist, Envoy answers before
/// it has edited the request, and a filter after it.
pub const WRITTEN_BACK: [&str; 7] =
    ["set", "%RESP(x-up)%", "%RESP(x-none)%", "%REQ(cookie)%", "b-%RESP(x-kept)%", "", "%PROTOCOL%"];

/// Origins of scripts.
pub const ORIGINS: [&str; 5] = ["https://a.test", "https://b.test", "http://a.test", "https://sub.a.test", "null"];

/// A `StringMatch` that the value meets, more often than not.
pub fn text_match(draw: &mut SplitMix, value: &str) -> Value {
    let plain: String = value.replace(r"\xe9", "");
    let beginning: String = plain.chars().take(1 + draw.below(3)).collect();
    let escaped: String = plain
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_string() } else { format!("\\{letter}") })
        .collect();
    match draw.below(10) {
        0..=3 => json!({ "exact": plain }),
        4 | 5 if !beginning.is_empty() => json!({ "prefix": beginning }),
        6 if !escaped.is_empty() => json!({ "regex": escaped }),
        7 => json!({ "regex": format!("({escaped}|other).*") }),
        8 => json!({ "regex": draw.pick(&[".*", "[a-z]+", "(?i)ANN.*", "[^,]*", ".+", "ann|bob"]) }),
        _ => json!({}),
    }
}
