//! Random `http` rules: every action, and every condition but those that the proxy's own labels decide.

use super::requests::Sketch;
use super::words::{
    HEADERS, METHODS, ORIGINS, PARAMETERS, PATH_PATTERNS, RULE_PATHS, VALUES, WRITTEN, WRITTEN_BACK, text_match,
};
use crate::chance::SplitMix;
use serde_json::{Map, Value, json};

/// What rules of one configuration have in common.
pub struct Scene<'a> {
    /// Draws.
    pub draw: &'a mut SplitMix,
    /// Destinations beside the fleet's.
    pub own: Vec<Value>,
    /// Gateways that a match block may name.
    pub gateways: Vec<String>,
    /// Every rule limits the time, so that an endpoint may be silent.
    pub can_hang: bool,
    /// Requests that some match block wants.
    pub wanted: Vec<Sketch>,
}

impl Scene<'_> {
    /// One to five rules; where a list could be empty, it sometimes is.
    pub fn rules(&mut self) -> Vec<Value> {
        (0..1 + self.draw.below(5)).map(|_| self.rule()).collect()
    }

    fn rule(&mut self) -> Value {
        let mut rule = Map::new();
        let only_prefixes = self.draw.percent(15);
        let blocks: Vec<Value> = (0..self.draw.below(4)).map(|_| self.block(only_prefixes)).collect();
        if !blocks.is_empty() {
            rule.insert("match".to_owned(), json!(blocks));
        } else {
            self.wanted.push(Sketch::any(self.draw));
        }
        match self.draw.below(10) {
            0 => {
                rule.insert("redirect".to_owned(), self.redirect(only_prefixes));
            }
            1 => {
                rule.insert("directResponse".to_owned(), self.direct_response());
            }
            _ => self.forward(&mut rule),
        }
        if self.draw.percent(30) {
            rule.insert("headers".to_owned(), self.edits(true));
        }
        Value::Object(rule)
    }

    /// One match block, and a request for it.
    pub fn block(&mut self, only_prefixes: bool) -> Value {
        let draw = &mut *self.draw;
        let mut block = Map::new();
        let mut sketch = Sketch::any(draw);
        if draw.percent(70) {
            let path = draw.pick(&RULE_PATHS);
            let uri = match draw.below(10) {
                _ if only_prefixes => json!({ "prefix": path }),
                0..=2 => json!({ "exact": path }),
                3..=6 => json!({ "prefix": path }),
                7 => json!({ "prefix": "" }),
                _ => json!({ "regex": draw.pick(&PATH_PATTERNS) }),
            };
            if uri.get("regex").is_none() && draw.percent(80) {
                let more = if uri.get("prefix").is_some() { draw.pick(&["", "/", "x", "/b", "?q=1"]) } else { "" };
                sketch.path = format!("{path}{more}");
            }
            block.insert("uri".to_owned(), uri);
            if draw.percent(15) {
                block.insert("ignoreUriCase".to_owned(), json!(true));
                sketch.path = sketch.path.to_ascii_uppercase();
            }
        }
        if draw.percent(15) {
            let method = draw.pick(&METHODS);
            block.insert("method".to_owned(), text_match(draw, method));
        }
        if draw.percent(4) {
            let scheme = draw.pick(&["http", "http", "http", "https"]);
            block.insert("scheme".to_owned(), text_match(draw, scheme));
        }
        if draw.percent(4) {
            let part = draw.pick(&["m", "a.", "A", "reviews"]);
            let authority = [json!({ "prefix": part }), json!({ "regex": format!("(?i){part}.*") }), json!({})];
            block.insert("authority".to_owned(), authority[draw.below(3)].clone());
        }
        if draw.percent(30) {
            let mut headers = Map::new();
            for _ in 0..1 + draw.below(2) {
                let (name, value) = (draw.pick(&HEADERS), draw.pick(&VALUES));
                headers.insert(name.to_owned(), text_match(draw, value));
                sketch.headers.push((name.to_owned(), value.to_owned()));
            }
            block.insert("headers".to_owned(), Value::Object(headers));
        }
        if draw.percent(15) {
            let name = draw.pick(&HEADERS);
            let value = match draw.below(5) {
                0 => json!({}),
                1 => json!({ "regex": "*" }),
                _ => {
                    let value = draw.pick(&VALUES);
                    text_match(draw, value)
                }
            };
            block.insert("withoutHeaders".to_owned(), json!({ name: value }));
        }
        if draw.percent(15) {
            let name = draw.pick(&PARAMETERS);
            let value = draw.pick(&["1", "ann", "", "2", "%31"]);
            block.insert("queryParams".to_owned(), json!({ name: text_match(draw, value) }));
            sketch.query = format!("{name}={value}");
        }
        if draw.percent(4) {
            block.insert("port".to_owned(), json!(draw.pick(&[&80, &8080, &0])));
        }
        if draw.percent(5) {
            let mut names = self.gateways.clone();
            names.push("mesh".to_owned());
            block.insert("gateways".to_owned(), json!([names[draw.below(names.len())]]));
        }
        if draw.percent(3) {
            block.insert("sourceNamespace".to_owned(), json!(draw.pick(&["default", "other"])));
        }
        self.wanted.push(sketch);
        Value::Object(block)
    }

    fn forward(&mut self, rule: &mut Map<String, Value>) {
        let count = if self.can_hang { 1 } else { [1, 1, 1, 2, 2, 3][self.draw.below(6)] };
        let weights: Vec<i32> = match (count, self.draw.below(4)) {
            (1, 0) => vec![0],
            (1, _) => vec![100],
            (2, 0) => vec![0, 100],
            (2, 1) => vec![1, 0],
            (2, _) => vec![50, 50],
            (_, 0) => vec![0, 7, 0],
            (_, 1) => vec![80, 0, 20],
            _ => vec![1, 1, 1],
        };
        let route: Vec<Value> = weights
            .iter()
            .map(|weight| {
                let mut entry = json!({ "destination": self.destination() });
                // A destination alone may go without.
                if weights.len() > 1 || self.draw.percent(50) {
                    entry["weight"] = json!(weight);
                }
                if self.draw.percent(25) {
                    entry["headers"] = self.edits(true);
                }
                entry
            })
            .collect();
        rule.insert("route".to_owned(), json!(route));
        if self.draw.percent(25) {
            rule.insert("rewrite".to_owned(), self.rewrite());
        }
        if self.can_hang {
            rule.insert("timeout".to_owned(), json!("150ms"));
        } else if self.draw.percent(15) {
            rule.insert("timeout".to_owned(), json!(self.draw.pick(&["5s", "2.5s", "10s"])));
        }
        if self.draw.percent(40) {
            rule.insert("retries".to_owned(), self.retries());
        }
        if self.draw.percent(10) {
            rule.insert("fault".to_owned(), self.fault());
        }
        self.mirrors(rule);
        if self.draw.percent(15) {
            rule.insert("corsPolicy".to_owned(), self.cors());
        }
    }

    fn destination(&mut self) -> Value {
        let draw = &mut *self.draw;
        if !self.own.is_empty() && !self.can_hang && draw.percent(50) {
            return self.own[draw.below(self.own.len())].clone();
        }
        // What may take long is not left to chance, or it would have to be asked for often.
        match draw.below(if self.can_hang { 10 } else { 20 }) {
            0..=5 => json!({ "host": "reviews", "subset": draw.pick(&["v1", "v2", "v3"]) }),
            6..=9 => json!({ "host": "ratings.default.svc.cluster.local", "subset": draw.pick(&["v1", "v2"]) }),
            10 => json!({ "host": "details" }),
            11 => json!({ "host": "reviews", "port": { "number": 80 } }),
            12 => json!({ "host": "two-ports", "port": { "number": draw.pick(&[&8080, &9090]) } }),
            13 => json!({ "host": "two-ports" }),
            14 => json!({ "host": "external.example.com" }),
            15 => json!({ "host": "down" }),
            16 => json!({ "host": "nowhere" }),
            17 => json!({ "host": "reviews", "subset": "v9" }),
            18 => json!({ "host": "ratings", "port": { "number": 81 } }),
            _ => json!({ "host": "ratings", "subset": "v1" }),
        }
    }

    fn rewrite(&mut self) -> Value {
        let draw = &mut *self.draw;
        let mut rewrite = Map::new();
        match draw.below(4) {
            0 => {}
            1 => {
                let (pattern, text) = *draw.pick(&[
                    &("^/api/v[0-9]+/(.*)$", r"/\1"),
                    &("a", "z"),
                    &("^(/[^/]*)(.*)", r"\2\1"),
                    &("/+", "/"),
                ]);
                rewrite.insert("uriRegexRewrite".to_owned(), json!({ "match": pattern, "rewrite": text }));
            }
            _ => {
                rewrite.insert("uri".to_owned(), json!(draw.pick(&["/", "/new", "/new/", "/a/b"])));
            }
        }
        if rewrite.is_empty() || draw.percent(30) {
            rewrite.insert("authority".to_owned(), json!(draw.pick(&["other.test", "reviews", "other.test:8080"])));
        }
        Value::Object(rewrite)
    }

    fn retries(&mut self) -> Value {
        let draw = &mut *self.draw;
        let mut retries = json!({ "attempts": draw.below(4), "backoff": "1ms" });
        if retries["attempts"] == 0 {
            return json!({ "attempts": 0 });
        }
        if draw.percent(75) {
            retries["retryOn"] = json!(draw.pick(&[
                "5xx",
                "gateway-error",
                "reset",
                "connect-failure,refused-stream",
                "retriable-4xx",
                "503",
                "404,5xx",
                "500,504",
                "reset-before-request",
                "unavailable,cancelled",
                "5xx,retriable-status-codes,429",
                "deadline-exceeded,internal,resource-exhausted",
            ]));
        }
        if self.can_hang && draw.percent(50) {
            retries["perTryTimeout"] = json!("40ms");
        }
        if draw.percent(15) {
            retries["retryIgnorePreviousHosts"] = json!(draw.percent(50));
        }
        retries
    }

    fn fault(&mut self) -> Value {
        let draw = &mut *self.draw;
        let sometimes = if self.can_hang { 100.0 } else { 50.0 };
        let share = |draw: &mut SplitMix| json!({ "value": draw.pick(&[&100.0, &100.0, &0.0, &sometimes, &0.0001]) });
        let mut fault = Map::new();
        if draw.percent(60) {
            let mut abort = match draw.below(3) {
                0 => json!({ "grpcStatus": draw.pick(&["UNAVAILABLE", "CANCELLED", "NOT_FOUND"]) }),
                _ => json!({ "httpStatus": draw.pick(&[&503, &404, &418, &200, &500]) }),
            };
            if draw.percent(90) {
                abort["percentage"] = share(draw);
            }
            fault.insert("abort".to_owned(), abort);
        }
        if fault.is_empty() || draw.percent(30) {
            let mut delay = json!({ "fixedDelay": draw.pick(&["1ms", "3ms"]) });
            if draw.percent(80) {
                delay["percentage"] = share(draw);
            } else {
                delay["percent"] = json!(draw.pick(&[&100, &0]));
            }
            fault.insert("delay".to_owned(), delay);
        }
        Value::Object(fault)
    }

    fn mirrors(&mut self, rule: &mut Map<String, Value>) {
        let sometimes = if self.can_hang { 100.0 } else { 50.0 };
        let share = |draw: &mut SplitMix| json!({ "value": draw.pick(&[&100.0, &0.0, &100.0, &sometimes]) });
        let to = |draw: &mut SplitMix| match draw.below(6) {
            0 => json!({ "host": "nowhere" }),
            1 if !self.can_hang => json!({ "host": "details" }),
            2 => json!({ "host": "external.example.com" }),
            _ => json!({ "host": "ratings", "subset": draw.pick(&["v1", "v2"]) }),
        };
        let draw = &mut *self.draw;
        match draw.below(10) {
            0 => {
                rule.insert("mirror".to_owned(), to(draw));
                match draw.below(3) {
                    0 => rule.insert("mirrorPercentage".to_owned(), share(draw)),
                    1 => rule.insert("mirrorPercent".to_owned(), json!(draw.pick(&[&100, &0]))),
                    _ => None,
                };
            }
            1 => {
                let mirrors: Vec<Value> = (0..1 + draw.below(2))
                    .map(|_| {
                        let mut mirror = json!({ "destination": to(draw) });
                        if draw.percent(60) {
                            mirror["percentage"] = share(draw);
                        }
                        mirror
                    })
                    .collect();
                rule.insert("mirrors".to_owned(), json!(mirrors));
            }
            _ => {}
        }
    }

    fn cors(&mut self) -> Value {
        let draw = &mut *self.draw;
        let mut cors = Map::new();
        if draw.percent(85) {
            let origins: Vec<Value> = (0..1 + draw.below(2))
                .map(|_| match draw.below(4) {
                    0 => json!({ "prefix": "https://" }),
                    1 => json!({ "regex": draw.pick(&["https://.*\\.test", ".*", "https://[ab]\\.test"]) }),
                    _ => json!({ "exact": draw.pick(&ORIGINS) }),
                })
                .collect();
            cors.insert("allowOrigins".to_owned(), json!(origins));
        } else {
            cors.insert("allowOrigin".to_owned(), json!([draw.pick(&ORIGINS)]));
        }
        let lists = [
            ("allowMethods", vec!["GET", "PUT"]),
            ("allowMethods", vec!["*"]),
            ("allowHeaders", vec!["x-user", "x-team"]),
            ("exposeHeaders", vec!["x-up"]),
        ];
        for (name, list) in lists {
            if draw.percent(40) {
                cors.insert(name.to_owned(), json!(list));
            }
        }
        if draw.percent(40) {
            cors.insert("maxAge".to_owned(), json!(draw.pick(&["24h", "10s", "1m30s"])));
        }
        if draw.percent(40) {
            cors.insert("allowCredentials".to_owned(), json!(draw.percent(60)));
        }
        if draw.percent(30) {
            cors.insert("unmatchedPreflights".to_owned(), json!(draw.pick(&["FORWARD", "IGNORE", "UNSPECIFIED"])));
        }
        Value::Object(cors)
    }

    fn redirect(&mut self, only_prefixes: bool) -> Value {
        let draw = &mut *self.draw;
        let mut redirect = Map::new();
        if only_prefixes && draw.percent(60) {
            redirect.insert("prefixRewrite".to_owned(), json!(draw.pick(&["/", "/new", "/n/"])));
        } else if draw.percent(60) {
            redirect.insert("uri".to_owned(), json!(draw.pick(&["/new", "/new?x=1", "/"])));
        }
        if draw.percent(50) {
            redirect.insert("authority".to_owned(), json!(draw.pick(&["other.test", "other.test:8443", "[::1]:80"])));
        }
        if draw.percent(40) {
            redirect.insert("scheme".to_owned(), json!(draw.pick(&["https", "http"])));
        }
        match draw.below(5) {
            0 => redirect.insert("port".to_owned(), json!(draw.pick(&[&80, &443, &8443]))),
            1 => redirect
                .insert("derivePort".to_owned(), json!(draw.pick(&["FROM_REQUEST_PORT", "FROM_PROTOCOL_DEFAULT"]))),
            _ => None,
        };
        // Istio refuses a redirect that names no other place.
        if redirect.is_empty() {
            redirect.insert("uri".to_owned(), json!("/new"));
        }
        if draw.percent(50) {
            redirect.insert("redirectCode".to_owned(), json!(draw.pick(&[&301, &302, &303, &307, &308])));
        }
        Value::Object(redirect)
    }

    fn direct_response(&mut self) -> Value {
        let draw = &mut *self.draw;
        let mut response =
            json!({ "status": draw.pick(&[&200, &201, &204, &205, &301, &304, &404, &503, &418, &599]) });
        match draw.below(4) {
            0 => {}
            1 => response["body"] = json!({ "bytes": "aGkAaGk=" }),
            _ => response["body"] = json!({ "string": draw.pick(&["hello", "", "{\"a\": 1}"]) }),
        }
        response
    }

    /// Edits of one level.
    fn edits(&mut self, with_responses: bool) -> Value {
        let draw = &mut *self.draw;
        let mut edits = Map::new();
        if draw.percent(75) {
            edits.insert("request".to_owned(), operations(draw, &WRITTEN, &["x-user", "x-team", "x-new", "X-Mixed"]));
            if draw.percent(8) {
                edits["request"]["set"] = json!({ "Host": draw.pick(&["set.test", "reviews"]) });
            }
        }
        if with_responses && (edits.is_empty() || draw.percent(40)) {
            edits.insert(
                "response".to_owned(),
                operations(draw, &WRITTEN_BACK, &["x-up", "x-new", "X-Mixed", "server"]),
            );
        }
        Value::Object(edits)
    }
}

fn operations(draw: &mut SplitMix, values: &[&str], names: &[&str]) -> Value {
    let mut operations = json!({});
    for kind in ["set", "add"] {
        let count = draw.below(3);
        let entries: Map<String, Value> =
            (0..count).map(|_| (draw.pick(names).to_owned(), json!(draw.pick(values)))).collect();
        if !entries.is_empty() {
            operations[kind] = Value::Object(entries);
        }
    }
    if draw.percent(35) {
        operations["remove"] = json!([draw.pick(names)]);
    }
    operations
}
