//! A rule that is called unreachable is never chosen: random rules, random requests, and the engine's own word.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use istio_config::{Config, Diagnostics, FilterConfig};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use traffic_policy::{Decision, Policy, RequestHead};

/// A stream of numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

const PATHS: [&str; 9] = ["/", "/a", "/A", "/a/", "/a/b", "/ab", "/a/b/c", "/b", "/a/7"];
const PATH_PATTERNS: [&str; 9] =
    [".*", "/a.*", "^/a/b$", "/a/[0-9]+", "(?i)/a", "/ab*", "/a|/b", r"/a\/b(.*)", "/a/.+"];
const WORDS: [&str; 5] = ["x", "xy", "X", "", "y"];
const WORD_PATTERNS: [&str; 6] = [".*", "x.*", "x", "x|y", "[xy]+", "x*"];
const METHODS: [&str; 3] = ["GET", "POST", "PUT"];
const NAMES: [&str; 3] = ["k", "l", "K"];

fn matcher(random: &mut Random, texts: &[&str], patterns: &[&str], without: bool) -> Value {
    match random.below(if without { 5 } else { 4 }) {
        0 => json!({"exact": random.pick(texts)}),
        1 => {
            let text = random.pick(texts);
            json!({"prefix": if text.is_empty() { "x" } else { text }})
        }
        2 => json!({"regex": random.pick(patterns)}),
        3 => json!({}),
        _ => json!({"regex": "*"}),
    }
}

fn block(random: &mut Random) -> Value {
    let mut block = Map::new();
    if !random.one_in(3) {
        let uri = match random.below(3) {
            0 => json!({"exact": random.pick(&PATHS)}),
            1 => json!({"prefix": random.pick(&PATHS)}),
            _ => json!({"regex": random.pick(&PATH_PATTERNS)}),
        };
        block.insert("uri".to_owned(), uri);
        if random.one_in(4) {
            block.insert("ignoreUriCase".to_owned(), json!(true));
        }
    }
    if random.one_in(3) {
        block.insert("method".to_owned(), matcher(random, &METHODS, &["GET|POST", ".*", "P.*"], false));
    }
    for (field, odds) in [("headers", 3), ("withoutHeaders", 4), ("queryParams", 5)] {
        if random.one_in(odds) {
            let entries: Map<_, _> = (0..=random.below(2))
                .map(|_| {
                    let name = random.pick(&NAMES).to_owned();
                    (name, matcher(random, &WORDS, &WORD_PATTERNS, field == "withoutHeaders"))
                })
                .collect();
            block.insert(field.to_owned(), Value::Object(entries));
        }
    }
    if random.one_in(8) {
        block.insert("port".to_owned(), json!(if random.one_in(2) { 80 } else { 81 }));
    }
    if random.one_in(8) {
        block.insert("sourceNamespace".to_owned(), json!(random.pick(&["default", "other"])));
    }
    if random.one_in(8) {
        block.insert("gateways".to_owned(), json!([random.pick(&["mesh", "g"])]));
    }
    Value::Object(block)
}

fn rules(random: &mut Random) -> Value {
    let rules = 2 + random.below(6);
    let http: Vec<Value> = (0..rules)
        .map(|_| {
            let mut rule = json!({"route": [{"destination": {"host": "h"}}]});
            let blocks = random.below(4);
            if blocks > 0 || random.one_in(2) {
                let blocks: Vec<_> = (0..blocks.max(1)).map(|_| block(random)).collect();
                rule["match"] = json!(blocks);
            }
            rule
        })
        .collect();
    let gateways: &[&str] = if random.one_in(3) { &["g", "mesh"] } else { &["mesh"] };
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "v"},
        "spec": {"hosts": ["h"], "gateways": gateways, "http": http},
    })
}

/// What is reported dead: rules by their index, and match blocks of the others.
fn dead(diagnostics: &Diagnostics) -> BTreeSet<(u32, Option<u32>)> {
    let number = |text: &str, word: &str| {
        text.split_once(word).and_then(|(_, rest)| rest.split_once(']')).map(|(number, _)| number.parse().unwrap())
    };
    let found = diagnostics.iter().filter(|found| ["IST0130", "IST0131"].contains(&found.code));
    found.map(|found| (number(&found.path, "http[").unwrap(), number(&found.path, "match["))).collect()
}

#[test]
fn a_rule_called_unreachable_is_never_chosen() {
    let (mut reported, mut chosen) = (0, BTreeSet::new());
    for seed in 0..4_000 {
        let random = &mut Random(seed);
        let object = rules(random);
        let (mut config, mut diagnostics) = (Config::default(), Diagnostics::default());
        config.add(object.clone(), &mut diagnostics);
        config.add(
            json!({
                "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "g"},
                "spec": {"servers": [{"port": {"number": 81, "name": "http", "protocol": "HTTP"}, "hosts": ["h.default.svc.cluster.local"]}]},
            }),
            &mut diagnostics,
        );
        rule_analysis::analyse(&config, &mut diagnostics);
        let dead = dead(&diagnostics);
        reported += dead.len();
        let filter = FilterConfig { config, namespace: "default".to_owned(), ..FilterConfig::default() };
        let Some(policy) = Policy::compile(&filter, &mut diagnostics) else {
            panic!("seed {seed}: {:?}\n{object:#}", diagnostics.iter().collect::<Vec<_>>());
        };
        for _ in 0..60 {
            let path =
                format!("{}{}", random.pick(&PATHS), random.pick(&["", "?k=x", "?l=y&k=xy", "?K=", "?k=y", "?l"]));
            let method = random.pick(&METHODS);
            let mut pairs: Vec<(&[u8], &[u8])> =
                vec![(b":authority", b"h"), (b":path", path.as_bytes()), (b":method", method.as_bytes())];
            for _ in 0..random.below(4) {
                pairs.push((random.pick(&["k", "l"]).as_bytes(), random.pick(&WORDS).as_bytes()));
            }
            let head = RequestHead::new(&pairs);
            let Decision::Forward(forward) = policy.decide(&head, &mut || 0) else { continue };
            let (http, block) = (forward.rule.http.unwrap(), forward.rule.match_block);
            chosen.insert((seed, http));
            let called_dead = dead.contains(&(http, None)) || block.is_some() && dead.contains(&(http, block));
            assert!(!called_dead, "seed {seed}: {} is called dead and takes {pairs:?}\n{object:#}", forward.rule);
        }
    }
    assert!(reported > 2_000, "only {reported} dead rules and matches: this test hardly tests anything");
    assert!(chosen.len() > 2_000, "only {} rules were ever chosen", chosen.len());
}

/// Rules in short, as JSON `match` blocks; the findings as `http[1]: IST0130`.
fn check(rules: &[Value], expected: &[&str]) {
    let http: Vec<Value> =
        rules.iter().map(|blocks| json!({"match": blocks, "route": [{"destination": {"host": "h"}}]})).collect();
    let object = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "v"},
        "spec": {"hosts": ["h"], "http": http},
    });
    let (mut config, mut diagnostics) = (Config::default(), Diagnostics::default());
    config.add(object, &mut diagnostics);
    rule_analysis::analyse(&config, &mut diagnostics);
    let found: Vec<String> = diagnostics
        .iter()
        .filter(|found| found.code.starts_with("IST013"))
        .map(|found| format!("{}: {}[{}]", found.path.trim_start_matches("spec."), found.severity, found.code))
        .collect();
    assert_eq!(found, expected, "{http:?}");
}

#[test]
fn what_is_proved_is_reported() {
    let prefix = |text: &str| json!({"uri": {"prefix": text}});
    for (earlier, later) in [
        (json!([]), prefix("/a")),
        (prefix("/"), prefix("/a")),
        (prefix("/a"), prefix("/a/b")),
        (prefix("/a"), json!({"uri": {"exact": "/ab"}})),
        (json!({"uri": {"regex": ".*"}}), prefix("/a")),
        (json!({"uri": {"regex": "/a/[0-9]+"}}), json!({"uri": {"regex": "/a/[0-9]+"}})),
        (json!({"uri": {"regex": "/a/[0-9]+"}}), json!({"uri": {"exact": "/a/7"}})),
        (prefix("/a/"), json!({"uri": {"regex": "/a/[0-9]+"}})),
        (json!({"uri": {"prefix": "/A"}, "ignoreUriCase": true}), prefix("/a/b")),
        (json!({"method": {"exact": "GET"}}), json!({"method": {"exact": "GET"}, "uri": {"prefix": "/a"}})),
        (json!({"headers": {"k": {}}}), json!({"headers": {"K": {"exact": "v"}, "l": {}}})),
        (json!({"queryParams": {"k": {"prefix": "v"}}}), json!({"queryParams": {"k": {"exact": "v1"}}})),
        (json!({"withoutHeaders": {"k": {"exact": "v"}}}), json!({"withoutHeaders": {"k": {}}})),
        (prefix("/a"), json!({"uri": {"prefix": "/a"}, "port": 80})),
    ] {
        let blocks = |block: Value| if block.is_array() { block } else { json!([block]) };
        check(&[blocks(earlier.clone()), blocks(later.clone())], &["http[1]: warning[IST0130]"]);
        if !later["uri"].is_null() && earlier != later {
            check(&[blocks(later), blocks(earlier)], &[]);
        }
    }
}

#[test]
fn of_several_blocks_only_the_dead_ones_are_reported() {
    let a = json!({"uri": {"prefix": "/a"}});
    let ab = json!({"uri": {"prefix": "/a/b"}});
    let c = json!({"uri": {"prefix": "/c"}});
    check(&[json!([a]), json!([c, ab])], &["http[1].match[1]: warning[IST0131]"]);
    // In one rule both lead to the same.
    check(&[json!([a, ab])], &["http[0].match[1]: note[IST0131]"]);
    check(&[json!([a]), json!([c]), json!([ab, c])], &["http[2]: warning[IST0130]"]);
}
