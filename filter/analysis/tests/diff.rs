//! What `diff` says of a change, on small rules; and that requests of which it says nothing are answered alike.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use envoy_plan::Plan;
use istio_config::{Config, Diagnostics, FilterConfig};
use rule_analysis::diff::{DiffReport, Effort, Recorded, Sample, Side, compare, diff};
use serde_json::{Value, json};
use traffic_policy::{Policy, RequestHead};

const EFFORT: Effort = Effort { samples: 20_000, seed: 1 };

fn to(subset: &str, weight: u32) -> Value {
    json!({"destination": {"host": "a.example", "subset": subset, "port": {"number": 80}}, "weight": weight})
}

fn service(host: &str, rules: Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": host}, "spec": {"hosts": [host], "http": rules},
    })
}

/// A service with an endpoint for each version, and subsets `v1` to `v3`.
fn versions(host: &str) -> [Value; 2] {
    let all = ["v1", "v2", "v3"];
    let endpoint =
        |version: &&str| json!({"address": format!("10.0.0.{}", &version[1..]), "labels": {"version": version}});
    let subset = |version: &&str| json!({"name": version, "labels": {"version": version}});
    let object = |kind: &str, spec: Value| json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": host}, "spec": spec});
    let ports = json!([{"number": 80, "name": "http"}]);
    let endpoints: Vec<_> = all.iter().map(endpoint).collect();
    let subsets: Vec<_> = all.iter().map(subset).collect();
    [
        object(
            "ServiceEntry",
            json!({"hosts": [host], "resolution": "STATIC", "ports": ports, "endpoints": endpoints}),
        ),
        object("DestinationRule", json!({"host": host, "subsets": subsets})),
    ]
}

fn compiled(objects: &[Value]) -> (FilterConfig, Policy, Plan) {
    let mut diagnostics = Diagnostics::default();
    let mut config = Config::default();
    objects.iter().for_each(|object| _ = config.add(object.clone(), &mut diagnostics));
    let (plan, bindings) = Plan::build(&config, &mut diagnostics);
    let filter = FilterConfig { config, bindings, namespace: "default".to_owned(), ..FilterConfig::default() };
    let policy = Policy::compile(&filter, &mut diagnostics);
    assert!(!diagnostics.has_errors(), "{objects:?} {:?}", diagnostics.iter().collect::<Vec<_>>());
    (filter, policy.unwrap(), plan)
}

fn report_of(old: &[Value], new: &[Value], effort: Effort) -> DiffReport {
    // Services that stay as they are, unless the test has its own.
    let is_own = |object: &Value| object["kind"] != "VirtualService";
    let with_services = |objects: &[Value]| match objects.iter().any(is_own) {
        true => compiled(objects),
        false => compiled(&[objects, &versions("a.example")].concat()),
    };
    let (old, new) = (with_services(old), with_services(new));
    diff(&side(&old), &side(&new), effort)
}

fn side((filter, policy, plan): &(FilterConfig, Policy, Plan)) -> Side<'_> {
    Side::new(filter, policy, plan)
}

/// Every group as `OLD RULE > NEW RULE: FROM>TO SHARE … | DETAIL … | EXAMPLE`.
fn check(old: Value, new: Value, wanted: &[&str]) -> DiffReport {
    let report = report_of(&[service("a.example", old)], &[service("a.example", new)], EFFORT);
    assert_eq!(told(&report), wanted);
    report
}

fn told(report: &DiffReport) -> Vec<String> {
    let groups = report.to_json()["groups"].as_array().unwrap().clone();
    let rule = |rule: &Value| match rule["http"].as_u64() {
        Some(http) => http.to_string(),
        None => rule["none"].as_str().unwrap_or("default").to_owned(),
    };
    let line = |group: &Value| {
        let mut line = format!("{} > {}:", rule(&group["old"]), rule(&group["new"]));
        for moved in group["moves"].as_array().unwrap() {
            let short = |end: &Value| end.as_str().unwrap().trim_start_matches("outbound|80|").to_owned();
            let share = moved["share"].as_f64().unwrap() * 100.0;
            line += &format!(" {}>{} {share:.0}", short(&moved["from"]), short(&moved["to"]));
        }
        for detail in group["details"].as_array().unwrap() {
            line +=
                &format!(" {}={}>{}", detail["what"].as_str().unwrap(), detail["old"], detail["new"]).replace('"', "");
        }
        let example = &group["example"];
        line += &format!(" | {} {}", example["method"].as_str().unwrap(), example["url"].as_str().unwrap());
        let headers = example["headers"].as_object().unwrap();
        line + &headers.iter().map(|(name, value)| format!(" {name}={value}").replace('"', "")).collect::<String>()
    };
    groups.iter().map(line).collect()
}

#[test]
fn a_change_of_weights_moves_the_difference() {
    let rules = |v1, v2| json!([{"route": [to("v1", v1), to("v2", v2)]}]);
    let report =
        check(rules(80, 20), rules(50, 50), &["0 > 0: v1|a.example>v2|a.example 30 | GET http://a.example/other"]);
    let rule = &report.objects[0].rules[0];
    let fields: Vec<_> = rule.fields.iter().map(|field| field.path.as_str()).collect();
    assert_eq!(fields, ["route[0].weight", "route[1].weight"]);
    let text = report.to_text();
    assert!(text.contains("    30 %  v1 → v2 of a.example:80\n"), "{text}");
    // Other numbers, the same shares.
    let report = check(rules(80, 20), rules(8, 2), &[]);
    assert!(!report.objects.is_empty() && !report.changes_requests());
    let text = report.to_text();
    assert!(text.contains("route[0].weight: 80 → 8") && text.contains("No request meets anything else."), "{text}");
    // Three versions: what one loses, others gain.
    let three = |a, b, c| json!([{"route": [to("v1", a), to("v2", b), to("v3", c)]}]);
    let moves = "0 > 0: v1|a.example>v2|a.example 30 v1|a.example>v3|a.example 20 | GET http://a.example/other";
    check(three(80, 20, 0), three(30, 50, 20), &[moves]);
}

/// What a policy says of users and testers is asked for too, and what it does besides is no secret.
#[test]
fn policies_are_compared_and_count() {
    let rules = service("a.example", json!([{"route": [to("v1", 1), to("v2", 1)]}]));
    let report = |old: Value, new: Value| {
        let with = |spec: Value| {
            let policy = json!({"apiVersion": "shunt.dev/v1alpha1", "kind": "ShuntPolicy", "metadata": {"name": "p"}, "spec": spec});
            [vec![rules.clone(), policy], versions("a.example").to_vec()].concat()
        };
        report_of(&with(old), &with(new), EFFORT)
    };
    let sticky = |word: &str, salt: &str| {
        json!({"targetRef": {"name": "a.example"},
            "sticky": {"httpHeaderName": "x-user", "salt": salt, "allowOverride": {"httpHeaderName": word}}})
    };
    let testers = report(sticky("x-version", ""), sticky("x-other", ""));
    assert!(testers.users.is_empty() && testers.changes_requests());
    let told = told(&testers);
    assert!(told.iter().any(|line| line.ends_with("x-other=v2")), "{told:?}");
    assert!(told.iter().any(|line| line.ends_with("x-version=v1")), "{told:?}");
    let salted = report(sticky("x-version", "a"), sticky("x-version", "b"));
    assert!(salted.changes_requests() && !salted.users.is_empty());
    assert!(!salted.to_text().contains("No request meets anything else."), "{}", salted.to_text());
    let context = |to: &str| json!({"propagate": {"to": [to]}});
    let handed_on = report(context("a.example"), context("*.example"));
    assert!(handed_on.groups.is_empty() && handed_on.changes_requests());
    assert!(!report(context("a.example"), context("a.example")).changes_requests());
}

#[test]
fn a_rule_in_front_takes_what_it_matches() {
    let last = json!({"route": [to("v1", 1)]});
    let first = json!({"match": [{"headers": {"end-user": {"exact": "jason"}}}], "route": [to("v2", 1)]});
    let example = "| GET http://a.example/other end-user=jason";
    let line = format!("0 > 0: v1|a.example>v2|a.example 100 {example}");
    check(json!([last]), json!([first, last]), &[&line]);
    let line = format!("0 > 0: v2|a.example>v1|a.example 100 {example}");
    check(json!([first, last]), json!([last]), &[&line]);
}

#[test]
fn a_rule_that_goes_leaves_404() {
    let rule = |path: &str| json!({"match": [{"uri": {"prefix": path}}], "route": [to("v1", 1)]});
    let line = "1 > no rule matches: v1|a.example>answer 404 100 | GET http://a.example/b";
    check(json!([rule("/a"), rule("/b")]), json!([rule("/a")]), &[line]);
}

#[test]
fn a_changed_match_changes_what_only_one_side_takes() {
    let rules =
        |raw: Value| json!([{"match": [{"headers": {"k": raw}}], "route": [to("v2", 1)]}, {"route": [to("v1", 1)]}]);
    check(
        rules(json!({"exact": "x"})),
        rules(json!({"prefix": "x"})),
        &["1 > 0: v1|a.example>v2|a.example 100 | GET http://a.example/other k=xx"],
    );
    check(
        rules(json!({"regex": "[0-9]+"})),
        rules(json!({"regex": "[0-9]{3}"})),
        &["0 > 1: v2|a.example>v1|a.example 100 | GET http://a.example/other k=0"],
    );
    check(rules(json!({"regex": "x"})), rules(json!({"exact": "x"})), &[]);
}

#[test]
fn an_order_without_effect_changes_no_request() {
    let rule = |path: &str, subset: &str| json!({"match": [{"uri": {"exact": path}}], "route": [to(subset, 1)]});
    let (a, b) = (rule("/a", "v1"), rule("/b", "v2"));
    let report = check(json!([a, b]), json!([b, a]), &[]);
    assert!(report.objects[0].rules.iter().all(|rule| rule.is_moved));
    let prefix = json!({"match": [{"uri": {"prefix": "/"}}], "route": [to("v3", 1)]});
    check(json!([a, prefix]), json!([prefix, a]), &["0 > 0: v1|a.example>v3|a.example 100 | GET http://a.example/a"]);
}

#[test]
fn what_is_done_on_the_way_is_compared() {
    let with = |field: &str, value: Value| {
        let mut rule = json!({"match": [{"uri": {"prefix": "/a"}}], "route": [to("v1", 1)]});
        rule[field] = value;
        json!([rule])
    };
    let plain = json!([{"match": [{"uri": {"prefix": "/a"}}], "route": [to("v1", 1)]}]);
    let rewrite = with("rewrite", json!({"uri": "/b"}));
    check(plain.clone(), rewrite, &["0 > 0: path=/a>/b | GET http://a.example/a"]);
    check(plain.clone(), with("rewrite", json!({"uri": "/a"})), &[]);
    check(plain.clone(), with("timeout", json!("2s")), &["0 > 0: timeout=none>2s | GET http://a.example/a"]);
    check(
        plain.clone(),
        with("retries", json!({"attempts": 3})),
        &["0 > 0: retries=default>3 attempts | GET http://a.example/a"],
    );
    check(
        plain.clone(),
        with("mirror", json!({"host": "a.example", "subset": "v2"})),
        &["0 > 0: mirrors=none>100 % to v2 of a.example:80 | GET http://a.example/a"],
    );
    let edits = json!({"request": {"set": {"x-of": "%REQ(x-from)%"}}});
    let others = json!({"request": {"set": {"x-of": "%REQ(x-other)%"}}});
    let lines = told(&report_of(
        &[service("a.example", with("headers", edits))],
        &[service("a.example", with("headers", others))],
        EFFORT,
    ));
    assert!(lines.iter().any(|line| line.contains("requestHeaders=")), "{lines:?}");
    let fault = json!({"abort": {"httpStatus": 503, "percentage": {"value": 10.0}}});
    check(
        plain,
        with("fault", fault),
        &["0 > 0: v1|a.example>answer 503 10 abort=none>10 % answer 503 | GET http://a.example/a"],
    );
}

#[test]
fn answers_are_compared_with_their_bodies() {
    let rules = |answer: Value| json!([answer]);
    let direct = |body: &str| json!({"directResponse": {"status": 200, "body": {"string": body}}});
    check(rules(direct("one")), rules(direct("two")), &["0 > 0: body=one>two | GET http://a.example/other"]);
    let redirect = |uri: &str| json!({"redirect": {"uri": uri}});
    let reply = |path: &str| format!("301, location: http://a.example{path}");
    let line = format!("0 > 0: reply={}>{} | GET http://a.example/other", reply("/x"), reply("/y"));
    check(rules(redirect("/x")), rules(redirect("/y")), &[&line]);
}

#[test]
fn hosts_come_and_go_and_others_are_not_asked() {
    let rules = json!([{"route": [to("v1", 1)]}]);
    let (a, b) = (service("a.example", rules.clone()), service("b.example", rules));
    let (both, a) = ([a.clone(), b], [a]);
    let report = report_of(&a, &both, EFFORT);
    assert_eq!(told(&report), ["unknown host > 0: answer 404>v1|a.example 100 | GET http://b.example/other"]);
    assert_eq!(report.hosts.iter().map(|host| host.host.as_str()).collect::<Vec<_>>(), ["b.example"]);
    let report = report_of(&both, &a, EFFORT);
    assert_eq!(told(&report), ["0 > unknown host: v1|a.example>answer 404 100 | GET http://b.example/other"]);
    assert!(report_of(&a, &a, EFFORT).hosts.is_empty());
}

#[test]
fn a_sample_meets_every_rule_and_repeats_itself() {
    let rules = |changed: usize| {
        let rule = |n: usize| {
            let subset = if n == changed { "v2" } else { "v1" };
            let names = json!({format!("k{}", n % 9): {"exact": n.to_string()}, "user": {"prefix": format!("u{n}")}});
            json!({"match": [{"uri": {"prefix": format!("/p{n}/")}, "headers": names}], "route": [to(subset, 1)]})
        };
        service("a.example", json!((0..300).map(rule).collect::<Vec<_>>()))
    };
    let effort = Effort { samples: 1000, seed: 7 };
    for changed in [0, 150, 299] {
        let report = report_of(&[rules(usize::MAX)], &[rules(changed)], effort);
        assert!(report.hosts[0].is_sampled && report.hosts[0].requests == 1000);
        assert_eq!(told(&report).len(), 1, "{changed}");
        assert_eq!(report, report_of(&[rules(usize::MAX)], &[rules(changed)], effort));
    }
}

#[test]
fn recorded_requests_are_counted() {
    let rules = |v1, v2| {
        [service("a.example", json!([{"match": [{"uri": {"prefix": "/a"}}], "route": [to("v1", v1), to("v2", v2)]}]))]
    };
    let with_services = |rules: [Value; 1]| compiled(&[rules.as_slice(), &versions("a.example")].concat());
    let (old, new) = (with_services(rules(80, 20)), with_services(rules(50, 50)));
    let (old, new) = (side(&old), side(&new));
    let mut recorded = Recorded::default();
    for path in ["/a", "/a/b", "/c", "/d"] {
        let pairs = [(":authority", "a.example"), (":path", path), (":method", "GET"), (":scheme", "http")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        recorded.add(&old, &new, &Sample { pairs });
    }
    assert_eq!((recorded.requests, recorded.changed), (4, 2));
    assert!((recorded.moved - 0.6).abs() < 1e-9);
    let mut report = diff(&old, &new, EFFORT);
    report.recorded = Some(recorded);
    let text = report.to_text();
    assert!(text.contains("Recorded: 2 of 4 requests meet something else (50 %)"), "{text}");
    assert!(text.contains("Another version for about 0.6 of them: 15 % of all requests."), "{text}");
}

/// A stream of numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }
}

fn condition(random: &mut Random, texts: &[&str], patterns: &[&str]) -> Value {
    let text = random.pick(texts);
    match random.below(4) {
        0 | 1 => json!({"exact": text}),
        2 => json!({"prefix": text}),
        _ => json!({"regex": random.pick(patterns)}),
    }
}

const PATHS: [&str; 6] = ["/", "/a", "/a/", "/a/b", "/ab", "/b"];
const PATTERNS: [&str; 5] = ["/a.*", "/a/[0-9]+", "/a|/b", "/a(/.*)?", "/[^/]*"];
const WORDS: [&str; 4] = ["x", "xy", "y", "7"];
const WORD_PATTERNS: [&str; 4] = ["x.*", "x|y", "[xy]+", "[0-9]"];

fn random_rule(random: &mut Random) -> Value {
    let mut block = json!({});
    if random.below(4) > 0 {
        block["uri"] = condition(random, &PATHS, &PATTERNS);
    }
    for field in ["headers", "queryParams", "withoutHeaders"] {
        if random.below(3) == 0 {
            block[field] = json!({"k": condition(random, &WORDS, &WORD_PATTERNS)});
        }
    }
    if random.below(5) == 0 {
        block["method"] = json!({"exact": random.pick(&["GET", "POST"])});
    }
    let subset = random.pick(&["v1", "v2"]);
    let mut rule = json!({"match": [block], "route": [to(subset, 1)]});
    if random.below(4) == 0 {
        rule["rewrite"] = json!({"uri": random.pick(&["/b", "/c/"])});
    }
    rule
}

/// Random edits of random rules: where `diff` is silent, so is every random request. The requests are made of the same
/// alphabet, and not by the code that is tested.
#[test]
fn where_diff_finds_nothing_random_requests_are_answered_alike() {
    let mut random = Random(11);
    let (mut silent, mut loud) = (0, 0);
    for round in 0..400 {
        let old: Vec<Value> = (0..=random.below(4)).map(|_| random_rule(&mut random)).collect();
        let mut new = old.clone();
        let place = random.below(new.len());
        match random.below(4) {
            0 => new.swap(0, place),
            1 => _ = new.remove(place),
            2 => new.insert(place, random_rule(&mut random)),
            _ => new.push(new[place].clone()),
        }
        if new.is_empty() {
            continue;
        }
        let (old, new) = ([service("a.example", json!(old))], [service("a.example", json!(new))]);
        let report = report_of(&old, &new, EFFORT);
        assert!(report.hosts.iter().all(|host| !host.is_sampled), "{report:?}");
        if report.changes_requests() {
            loud += 1;
            continue;
        }
        silent += 1;
        let with_services = |rules: [Value; 1]| compiled(&[rules.as_slice(), &versions("a.example")].concat());
        let (old, new) = (with_services(old), with_services(new));
        let (old_side, new_side) = (side(&old), side(&new));
        for _ in 0..300 {
            let end = random.pick(&["", "b", "/7", "/", "x"]);
            let query = random.pick(&["", "?k=x", "?k=xyz", "?k=7", "?l=x", "?k"]);
            let path = format!("{}{end}{query}", random.pick(&PATHS));
            let mut pairs: Vec<(&[u8], &[u8])> = vec![
                (b":authority", b"a.example"),
                (b":path", path.as_bytes()),
                (b":method", random.pick(&["GET", "POST", "PUT"]).as_bytes()),
                (b":scheme", b"http"),
            ];
            if random.below(2) == 0 {
                pairs.push((b"k", random.pick(&["x", "xy", "xyz", "y", "7", "77", "z", ""]).as_bytes()));
            }
            let head = RequestHead::new(&pairs);
            assert_eq!(compare(&old_side, &new_side, &head), None, "round {round}: {path} {old:?} {new:?}");
            // By other words than those of `compare`: the same destinations and the same path.
            let (before, after) = (old.1.explain(&head, 0), new.1.explain(&head, 0));
            assert_eq!(before.destinations, after.destinations, "round {round}: {path}");
            assert_eq!((before.action, before.reply), (after.action, after.reply), "round {round}: {path}");
        }
    }
    assert!(silent > 40 && loud > 40, "{silent} silent, {loud} loud");
}

/// Services, subsets and rules that split `a.example` in halves, and the same with the objects that `change` makes.
fn behind(change: impl Fn(&mut Vec<Value>)) -> DiffReport {
    let rules = json!([{"route": [to("v1", 50), to("v2", 50)]}]);
    let old = [&versions("a.example")[..], &[service("a.example", rules)]].concat();
    let mut new = old.clone();
    change(&mut new);
    report_of(&old, &new, EFFORT)
}

#[test]
fn requests_are_compared_where_they_end() {
    let labels = "/spec/subsets/1/labels/version";
    let example = "| GET http://a.example/other";
    let nowhere = |what: &str| format!("0 > 0: v2|a.example>answer 503: {what} 50 {example}");
    let check = |change: &dyn Fn(&mut Vec<Value>), wanted: &str| {
        let report = behind(change);
        assert_eq!(told(&report), [wanted]);
        assert!(report.changes_requests());
    };
    // Another label, a label that no endpoint has, no subset, no endpoint.
    check(
        &|objects| *objects[1].pointer_mut(labels).unwrap() = json!("v3"),
        &format!("0 > 0: v2|a.example (version=v2)>v2|a.example (version=v3) 50 {example}"),
    );
    check(
        &|objects| *objects[1].pointer_mut(labels).unwrap() = json!("v9"),
        &nowhere("no endpoint in v2 of a.example:80"),
    );
    check(
        &|objects| _ = objects[1]["spec"]["subsets"].as_array_mut().unwrap().remove(1),
        &nowhere("no such cluster v2 of a.example:80"),
    );
    check(
        &|objects| _ = objects[0]["spec"]["endpoints"].as_array_mut().unwrap().remove(1),
        &nowhere("no endpoint in v2 of a.example:80"),
    );
    let report = behind(|objects| _ = objects.remove(1));
    let moves = "v1|a.example>answer 503: no such cluster v1 of a.example:80 50";
    assert!(told(&report)[0].contains(moves), "{:?}", told(&report));
    assert!(behind(|objects| _ = objects.remove(0)).changes_requests());
    // v2 is what v1 is: the subset has another name and nobody moves.
    let report = behind(|objects| {
        objects[1]["spec"]["subsets"][1]["name"] = json!("next");
        objects[2]["spec"]["http"][0]["route"][1]["destination"]["subset"] = json!("next");
    });
    assert!(!report.changes_requests() && !report.objects.is_empty(), "{report:?}");
}

#[test]
fn without_services_clusters_are_compared_by_name() {
    let rules = |v1, v2| [service("a.example", json!([{"route": [to("v1", v1), to("v2", v2)]}]))];
    let (old, new) = (compiled(&rules(80, 20)), compiled(&rules(50, 50)));
    let report = diff(&side(&old), &side(&new), EFFORT);
    assert_eq!(told(&report), ["0 > 0: v1|a.example>v2|a.example 30 | GET http://a.example/other"]);
}

#[test]
fn other_addresses_are_no_other_version() {
    let report = behind(|objects| objects[0]["spec"]["endpoints"][0]["address"] = json!("10.0.0.9"));
    assert!(!report.changes_requests());
    assert_eq!(report.moved_in, ["a.example:80"]);
    let text = report.to_text();
    assert!(text.contains("No request meets anything else.\nOther endpoints, same version: a.example:80.\n"), "{text}");
    let pods = behind(|objects| objects[0]["spec"]["endpoints"][0]["labels"]["pod-template-hash"] = json!("7"));
    assert!(!pods.changes_requests());
}

#[test]
fn policies_of_a_destination_are_compared() {
    let report = behind(|objects| objects[1]["spec"]["trafficPolicy"] = json!({"loadBalancer": {"simple": "RANDOM"}}));
    assert_eq!(told(&report), ["0 > 0: balancing=LEAST_REQUEST>RANDOM | GET http://a.example/other"]);
    let report = behind(|objects| {
        objects[1]["spec"]["trafficPolicy"] = json!({
            "connectionPool": {"http": {"http1MaxPendingRequests": 8, "idleTimeout": "5s"}},
            "outlierDetection": {"consecutiveGatewayErrors": 3},
        });
    });
    let ejected =
        "consecutive5xxErrors 5, consecutiveGatewayErrors 3, interval 10s, baseEjectionTime 30s, maxEjectionPercent 10";
    let expected = format!(
        "0 > 0: limits=none>http1MaxPendingRequests 8 connections=none>idleTimeout 5s outlierDetection=none>{ejected} | GET http://a.example/other"
    );
    assert_eq!(told(&report), [expected]);
}

#[test]
fn what_says_the_same_in_other_words_changes_nothing() {
    let plain = json!([{"route": [to("v1", 1)]}]);
    check(plain.clone(), json!([{"route": [to("v1", 1)], "retries": {"attempts": 2}}]), &[]);
    check(plain, json!([{"route": [to("v1", 25), to("v1", 75)]}]), &[]);
}

#[test]
fn changed_patterns_are_told_apart_or_named() {
    let rules = |pattern: &str| json!([{"match": [{"headers": {"k": {"regex": pattern}}}], "route": [to("v2", 1)]}, {"route": [to("v1", 1)]}]);
    let many = "a".repeat(51);
    let line = format!("1 > 0: v1|a.example>v2|a.example 100 | GET http://a.example/other k={many}");
    check(rules("a{1,50}"), rules("a{1,60}"), &[&line]);
    check(rules("[0-9]+"), rules(r"\d+"), &[]);
    let report = check(rules("([^x]|x)*y"), rules("(.|\n)*y"), &[]);
    assert_eq!(report.told_alike.len(), 1, "{report:?}");
    let text = report.to_text();
    assert!(text.contains("Not told apart by any request that was compared:\n  headers[k]: ([^x]|x)*y → "), "{text}");
    assert!(!text.contains("No request meets anything else"), "{text}");
}
