//! The engine from the outside: rules as Istio YAML, a request as text, the decision as one line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use istio_config::filter_config::{Listener, RepeatedHeaders};
use istio_config::{Config, Diagnostics, FilterConfig, yaml};
use serde_json::json;
use traffic_policy::{Abort, Decision, Edit, Policy, RequestHead, ResponseRule};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn compile(objects: &str) -> (Option<Policy>, Vec<String>) {
    let (mut config, mut sources, mut diagnostics) =
        (Config::default(), yaml::Sources::default(), Diagnostics::default());
    yaml::read("f", objects, &mut config, &mut sources, &mut diagnostics);
    let config = FilterConfig { config, namespace: "default".into(), ..FilterConfig::default() };
    let policy = Policy::compile(&config, &mut diagnostics);
    let found = diagnostics.iter().map(|d| format!("{}: {}[{}]", d.path, d.severity, d.code)).collect();
    (policy, found)
}

/// Before 1.39, Envoy compared all values of a repeated header at once.
#[test]
fn values_of_a_repeated_header_are_joined_where_it_is_wished() {
    let (mut config, mut sources, mut diagnostics) =
        (Config::default(), yaml::Sources::default(), Diagnostics::default());
    let rules =
        short_rules("header x=a,b -> v1; header x=a -> v2; without x=a -> v3; has x -> v4; exact /c header x=c -> v5");
    yaml::read("f", &rules, &mut config, &mut sources, &mut diagnostics);
    let configuration = json!({ "repeatedHeaders": "JOINED", "objects": config.written });
    let read = FilterConfig::read(configuration, &mut diagnostics);
    assert_eq!(FilterConfig::read(read.to_json(), &mut diagnostics).repeated_headers, RepeatedHeaders::Joined);
    let policy = Policy::compile(&read, &mut diagnostics).expect("a policy");
    for (request, expected) in [
        ("GET r /\nx: a\nx: b", "v1"),
        ("GET r /\nx: a,b", "v1"),
        ("GET r /\nx: a", "v2"),
        ("GET r /\nx: b\nx: a", "v3"),
        ("GET r /\nx: c\nx: a\ny: 1", "v3"),
    ] {
        let decided = decide(&policy, request, || 0);
        assert!(decided.contains(expected), "{request}: {decided}");
        let pairs: Vec<_> = [(&b":authority"[..], &b"r"[..]), (b":path", b"/")]
            .into_iter()
            .chain(
                request
                    .lines()
                    .skip(1)
                    .filter_map(|line| line.split_once(": "))
                    .map(|(name, value)| (name.as_bytes(), value.as_bytes())),
            )
            .collect();
        let told = policy.explain(&RequestHead::new(&pairs), 9);
        assert!(told.destinations[0].cluster.contains(expected), "{request}: {told:?}");
    }
}

/// What a request meets on a listener of Istio's.
fn check_on(gateway: &str, port: u16, objects: &str, request: &str, expected: &str) {
    let (mut config, mut sources, mut diagnostics) =
        (Config::default(), yaml::Sources::default(), Diagnostics::default());
    yaml::read("f", objects, &mut config, &mut sources, &mut diagnostics);
    let listener = Some(Listener { gateway: gateway.to_owned(), port });
    let config = FilterConfig { config, namespace: "default".into(), listener, ..FilterConfig::default() };
    let policy = Policy::compile(&config, &mut diagnostics).expect("a policy");
    assert_eq!(decide(&policy, request, || 0), expected, "{request} on {gateway} {port}");
}

fn object(kind: &str, name: &str, spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!("---\napiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n{spec}")
}

fn service(host: &str, ports: &[u16]) -> String {
    let ports: String =
        ports.iter().map(|port| format!("- {{number: {port}, name: p{port}, protocol: HTTP}}\n")).collect();
    object(
        "ServiceEntry",
        &host.replace(['.', '*'], "-"),
        &format!("hosts: [{host}]\nresolution: STATIC\nports:\n{ports}"),
    )
}

/// A VirtualService for host `r` with these rules, in short: `prefix /a -> v1; exact /b header x=y -> v2`.
fn short_rules(rules: &str) -> String {
    let mut http = "hosts: [r]\nhttp:\n".to_owned();
    for rule in rules.split("; ") {
        let (conditions, subset) = rule.split_once("-> ").expect("a rule has `-> subset`");
        let mut words = conditions.split_whitespace();
        let mut fields = Vec::new();
        while let Some(word) = words.next() {
            let operand = words.next().expect("every condition has an operand");
            let pair = || operand.split_once('=').expect("name=value");
            fields.push(match word {
                "exact" | "prefix" | "regex" => format!("uri: {{{word}: '{operand}'}}"),
                "method" => format!("method: {{exact: {operand}}}"),
                "header" => format!("headers: {{{}: {{exact: '{}'}}}}", pair().0, pair().1),
                "has" => format!("headers: {{{operand}: {{}}}}"),
                "without" => format!("withoutHeaders: {{{}: {{exact: '{}'}}}}", pair().0, pair().1),
                "lacks" => format!("withoutHeaders: {{{operand}: {{}}}}"),
                "query" => format!("queryParams: {{{}: {{exact: '{}'}}}}", pair().0, pair().1),
                "anycase" => format!("uri: {{prefix: '{operand}'}}, ignoreUriCase: true"),
                other => panic!("unknown word {other}"),
            });
        }
        let matches = if fields.is_empty() { String::new() } else { format!("  match: [{{{}}}]\n", fields.join(", ")) };
        http += &format!("- name: some\n{matches}  route: [{{destination: {{host: r, subset: {subset}}}}}]\n");
    }
    service("r", &[80]) + &object("VirtualService", "r", &http)
}

/// `METHOD host /target`, then one `name: value` a line.
fn decide(policy: &Policy, request: &str, mut draws: impl FnMut() -> u64) -> String {
    let mut lines = request.lines();
    let words: Vec<_> = lines.next().expect("a request line").split(' ').collect();
    let [method, host, target] = words[..] else { panic!("METHOD host /target") };
    let mut pairs = vec![(":method", method), (":scheme", "http"), (":authority", host), (":path", target)];
    pairs.extend(lines.map(|line| line.trim().split_once(": ").expect("name: value")));
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let edits = |edits: &[Edit<'_>]| edits.iter().map(edit).collect::<String>();
    let answer: &[(&[u8], &[u8])] = &[(b":status", b"200"), (b"server", b"up")];
    let response = |rule: &Option<ResponseRule>| {
        rule.as_ref()
            .map(|rule| format!(" response:{}", edits(&policy.response_edits(rule, answer))))
            .unwrap_or_default()
    };
    match policy.decide(&RequestHead::new(&pairs), &mut draws) {
        Decision::Pass => "pass".to_owned(),
        Decision::Reply(reply) if reply.status == 404 => format!("404 {}", reply.details),
        Decision::Reply(reply) => {
            let mut line = reply.status.to_string();
            for (name, value) in &reply.headers {
                line += &format!(" {name}: {}", String::from_utf8_lossy(value));
            }
            if !reply.body.is_empty() {
                line += &format!(" body: {}", String::from_utf8_lossy(&reply.body));
            }
            line + &response(&reply.response)
        }
        Decision::Forward(forward) => {
            let mut line = format!("{} by {}", forward.cluster, forward.rule);
            if let Some(path) = &forward.path {
                line += &format!(" path={}", String::from_utf8_lossy(path));
            }
            if let Some(authority) = forward.authority {
                line += &format!(" authority={}", authority.name());
            }
            if let Some(delay_ms) = forward.fault.delay_ms {
                line += &format!(" delay={delay_ms}");
            }
            match forward.fault.abort {
                Some(Abort::Http(status)) => line += &format!(" abort={status}"),
                Some(Abort::Grpc(status)) => line += &format!(" abort=grpc-{status}"),
                None => {}
            }
            line += &edits(&forward.edits);
            line + &response(&forward.response)
        }
    }
}

fn edit(edit: &Edit<'_>) -> String {
    match edit {
        Edit::Set(name, value) => format!(" {name}={}", String::from_utf8_lossy(value)),
        Edit::Add(name, value) => format!(" {name}+={}", String::from_utf8_lossy(value)),
        Edit::Remove(name) => format!(" -{name}"),
    }
}

/// `expected` is the subset and the rule, as in `v1: http[0].match[0]`, or the beginning of a local reply.
fn check_route(rules: &str, request: &str, expected: &str) {
    let (policy, found) = compile(&short_rules(rules));
    let policy = policy.unwrap_or_else(|| panic!("{found:?}"));
    let expected = match expected.split_once(": ") {
        Some((subset, rule)) => format!("outbound|80|{subset}|r.default.svc.cluster.local by default/r: {rule}"),
        None => expected.to_owned(),
    };
    assert_eq!(decide(&policy, request, || 0), expected, "{rules}\n{request}");
}

fn check_decision(objects: &str, request: &str, draw: u64, expected: &str) {
    let (policy, found) = compile(objects);
    let policy = policy.unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!(decide(&policy, request, || draw), expected, "{request}");
}

fn check_findings(objects: &str, expected: &[&str]) {
    let (policy, found) = compile(objects);
    assert_eq!(found, expected);
    assert_eq!(policy.is_none(), found.iter().any(|finding| finding.contains("error")));
}

#[test]
fn file_order_beats_prefix_length() {
    check_route("prefix /api -> v1; prefix /api/v2 -> v2", "GET r /api/v2/users", "v1: http[0].match[0]");
    check_route("prefix /api/v2 -> v2; prefix /api -> v1", "GET r /api/v2/users", "v2: http[0].match[0]");
}

#[test]
fn file_order_beats_every_kind_of_condition() {
    let rules = "header x=1 -> a; exact /e -> b; prefix /e -> c; query q=1 -> d; regex /e.* -> e; -> f";
    check_route(rules, "GET r /e?q=1\nx: 1", "a: http[0].match[0]");
    check_route(rules, "GET r /e?q=1", "b: http[1].match[0]");
    check_route(rules, "GET r /ee?q=1", "c: http[2].match[0]");
    check_route(rules, "GET r /x?q=1", "d: http[3].match[0]");
    check_route(rules, "GET r /x", "f: http[5]");
    check_route("regex /e.* -> e; exact /e -> b", "GET r /e", "e: http[0].match[0]");
}

#[test]
fn a_prefix_is_a_plain_string_prefix() {
    check_route("prefix /foo -> v1", "GET r /foobar", "v1: http[0].match[0]");
    check_route("prefix /foo/ -> v1", "GET r /foo", "404 shunt_no_rule");
}

#[test]
fn exact_and_prefix_ignore_query_and_fragment() {
    check_route("exact /a -> v1", "GET r /a?b=c", "v1: http[0].match[0]");
    check_route("exact /a -> v1", "GET r /a#x?y", "v1: http[0].match[0]");
    check_route("exact /a -> v1", "GET r /a/", "404 shunt_no_rule");
}

#[test]
fn a_regex_matches_the_whole_path() {
    check_route("regex /v1 -> v1", "GET r /v1/x", "404 shunt_no_rule");
    check_route(r"regex ^.*\.(ico|png|jpg)$ -> v1", "GET r /a/b.png?x", "v1: http[0].match[0]");
    check_route("regex /a|/b -> v1", "GET r /bc", "404 shunt_no_rule");
}

#[test]
fn ignore_uri_case_serves_prefixes_and_exact_paths() {
    check_route("anycase /Foo -> v1", "GET r /fOObar", "v1: http[0].match[0]");
    check_route("prefix /Foo -> v1", "GET r /foo", "404 shunt_no_rule");
}

#[test]
fn methods_and_header_values_keep_their_case_and_names_do_not() {
    check_route("method GET -> v1", "get r /", "404 shunt_no_rule");
    check_route("header X-User=Ann -> v1", "GET r /\nx-user: Ann", "v1: http[0].match[0]");
    check_route("header x-user=Ann -> v1", "GET r /\nx-user: ann", "404 shunt_no_rule");
}

#[test]
fn each_value_of_a_repeated_header_is_tried_alone() {
    check_route("header x=b -> v1", "GET r /\nx: a\nx: b", "v1: http[0].match[0]");
    check_route("header x=a,b -> v1", "GET r /\nx: a\nx: b", "404 shunt_no_rule");
    check_route("without x=b -> v1", "GET r /\nx: a\nx: b", "404 shunt_no_rule");
}

#[test]
fn without_headers_takes_a_missing_header_as_empty() {
    check_route("without x=a -> v1", "GET r /", "v1: http[0].match[0]");
    check_route("without x=a -> v1", "GET r /\nx: a", "404 shunt_no_rule");
    check_route("without x= -> v1", "GET r /", "404 shunt_no_rule");
    check_route("header x= -> v1", "GET r /", "404 shunt_no_rule");
    check_route("lacks x -> v1", "GET r /", "v1: http[0].match[0]");
    check_route("lacks x -> v1", "GET r /\nx: 1", "404 shunt_no_rule");
    check_route("has x -> v1", "GET r /\nx: 1", "v1: http[0].match[0]");
}

#[test]
fn query_parameters_are_raw_and_only_the_first_counts() {
    check_route("query a=1 -> v1", "GET r /?a=1&a=2", "v1: http[0].match[0]");
    check_route("query a=2 -> v1", "GET r /?a=1&a=2", "404 shunt_no_rule");
    check_route("query a=1 -> v1", "GET r /?a=%31", "404 shunt_no_rule");
    check_route("query a= -> v1", "GET r /?a", "v1: http[0].match[0]");
}

#[test]
fn what_stands_behind_a_catch_all_is_dead() {
    check_route("prefix / -> v1; exact /a -> v2", "GET r /a", "v1: http[0].match[0]");
    check_route("regex .* -> v1; exact /a -> v2", "GET r /a", "v1: http[0].match[0]");
}

const ROUTE_TO_A: &str = "hosts: [a]\nhttp:\n- route: [{destination: {host: a, subset: x}}]\n";

#[test]
fn known_hosts_without_rules_go_to_their_endpoints_and_unknown_ones_are_404() {
    let objects = service("a", &[80]) + &service("b.com", &[8080, 80]) + &service("c.com", &[9080]);
    check_decision(
        &objects,
        "GET a /",
        0,
        "outbound|80||a.default.svc.cluster.local by a.default.svc.cluster.local: default route",
    );
    check_decision(&objects, "GET b.com:1234 /", 0, "outbound|80||b.com by b.com: default route");
    check_decision(&objects, "GET c.com /", 0, "outbound|9080||c.com by c.com: default route");
    check_decision(&objects, "GET d.com /", 0, "404 shunt_unknown_host");
}

#[test]
fn short_names_of_a_service_all_reach_its_rules() {
    let objects = service("a", &[80]) + &object("VirtualService", "a", ROUTE_TO_A);
    for host in ["a", "a.default", "a.default.svc", "a.default.svc.cluster.local", "A:80", "a."] {
        check_decision(
            &objects,
            &format!("GET {host} /"),
            0,
            "outbound|80|x|a.default.svc.cluster.local by default/a: http[0]",
        );
    }
    check_decision(&objects, "GET a.other /", 0, "404 shunt_unknown_host");
}

#[test]
fn a_wildcard_rule_takes_over_services_without_a_closer_rule() {
    let wild =
        object("VirtualService", "w", "hosts: ['*.x']\nhttp:\n- route: [{destination: {host: a.x, subset: w}}]\n");
    let objects = service("a.x", &[80])
        + &service("b.x", &[80])
        + &wild
        + &object("VirtualService", "b", "hosts: [b.x]\nhttp:\n- route: [{destination: {host: b.x}}]\n");
    check_decision(&objects, "GET a.x /", 0, "outbound|80|w|a.x by default/w: http[0]");
    check_decision(&objects, "GET b.x /", 0, "outbound|80||b.x by default/b: http[0]");
    check_decision(&objects, "GET z.x /", 0, "outbound|80|w|a.x by default/w: http[0]");
}

fn gateway(name: &str, hosts: &str) -> String {
    object(
        "Gateway",
        name,
        &format!("servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: {hosts}}}]\n"),
    )
}

#[test]
fn gateway_rules_serve_the_hosts_both_sides_name() {
    let rules =
        object("VirtualService", "v", "hosts: ['*']\ngateways: [g]\nhttp:\n- route: [{destination: {host: a}}]\n");
    let objects = service("a", &[8080]) + &gateway("g", "['*.com', 'other/*.net']") + &rules;
    check_decision(&objects, "GET www.com /", 0, "outbound|8080||a.default.svc.cluster.local by default/v: http[0]");
    check_decision(&objects, "GET www.net /", 0, "404 shunt_unknown_host");
    check_decision(
        &objects,
        "GET a /",
        0,
        "outbound|8080||a.default.svc.cluster.local by a.default.svc.cluster.local: default route",
    );
}

#[test]
fn of_merged_gateway_rules_the_catch_all_sinks_below_the_younger_exact_rule() {
    let vs = |name: &str, created: &str, rules: &str| {
        object("VirtualService", name, &format!("hosts: [h.com]\ngateways: [g]\nhttp:\n{rules}"))
            .replace("metadata: {", &format!("metadata: {{creationTimestamp: '{created}', "))
    };
    let objects = gateway("g", "['*']")
        + &vs(
            "young",
            "2026-02-01T00:00:00Z",
            "- match: [{uri: {exact: /y}}]\n  route: [{destination: {host: why}}]\n",
        )
        + &vs("old", "2026-01-01T00:00:00Z", "- route: [{destination: {host: o}}]\n");
    check_decision(
        &objects,
        "GET h.com /y",
        0,
        "outbound|80||why.default.svc.cluster.local by default/young: http[0].match[0]",
    );
    check_decision(&objects, "GET h.com /z", 0, "outbound|80||o.default.svc.cluster.local by default/old: http[0]");
}

#[test]
fn match_blocks_hold_by_gateway_port_and_caller() {
    let block = |block: &str| {
        let rule = format!(
            "hosts: [a]\nhttp:\n- match: [{{{block}}}]\n  route: [{{destination: {{host: a, subset: m}}}}]\n- route: [{{destination: {{host: a}}}}]\n"
        );
        service("a", &[80]) + &object("VirtualService", "a", &rule)
    };
    for (conditions, holds) in [
        ("port: 80", true),
        ("port: 81", false),
        ("gateways: [mesh]", true),
        ("gateways: [g]", false),
        ("gateways: [mesh], sourceLabels: {app: other}", true),
        ("sourceLabels: {app: other}", false),
        ("sourceNamespace: default", true),
        ("sourceNamespace: other", false),
    ] {
        let (subset, rule) = if holds { ("m", "http[0].match[0]") } else { ("", "http[1]") };
        check_decision(
            &block(conditions),
            "GET a /",
            0,
            &format!("outbound|80|{subset}|a.default.svc.cluster.local by default/a: {rule}"),
        );
    }
}

/// One VirtualService for `a` whose first rule is `rule`, in YAML.
fn one_rule(rule: &str) -> String {
    let rule: String = rule.lines().map(|line| format!("  {line}\n")).collect();
    service("a", &[80]) + &object("VirtualService", "a", &format!("hosts: [a]\nhttp:\n-{}", &rule[1..]))
}

#[test]
fn weights_pick_by_range_in_file_order() {
    let rule = "route:\n- {destination: {host: a, subset: v1}, weight: 80}\n- {destination: {host: a, subset: v0}, weight: 0}\n- {destination: {host: a, subset: v2}, weight: 20}\n";
    let of_percent = |percent: u64| u64::MAX / 100 * percent + u64::MAX / 200;
    for (percent, subset) in [(0, "v1"), (79, "v1"), (80, "v2"), (99, "v2")] {
        check_decision(
            &one_rule(rule),
            "GET a /",
            of_percent(percent),
            &format!("outbound|80|{subset}|a.default.svc.cluster.local by default/a: http[0]"),
        );
    }
}

#[test]
fn a_destination_without_port_takes_its_only_port_else_the_listeners() {
    let objects = service("a", &[9080])
        + &service("two", &[81, 82])
        + &object(
            "VirtualService",
            "a",
            "hosts: [a]\nhttp:\n- match: [{uri: {exact: /two}}]\n  route: [{destination: {host: two}}]\n- match: [{uri: {exact: /named}}]\n  route: [{destination: {host: two, port: {number: 82}}}]\n- route: [{destination: {host: a}}]\n",
        );
    check_decision(&objects, "GET a /", 0, "outbound|9080||a.default.svc.cluster.local by default/a: http[2]");
    check_decision(
        &objects,
        "GET a /two",
        0,
        "outbound|9080||two.default.svc.cluster.local by default/a: http[0].match[0]",
    );
    check_decision(
        &objects,
        "GET a /named",
        0,
        "outbound|82||two.default.svc.cluster.local by default/a: http[1].match[0]",
    );
}

#[test]
fn rewrites_follow_what_the_block_matched() {
    let rule = |matches: &str, uri: &str| {
        format!(
            "match: [{{{matches}}}]\nrewrite: {{uri: {uri}, authority: other}}\nroute: [{{destination: {{host: a}}}}]\n"
        )
    };
    for (matches, uri, path) in [
        ("uri: {prefix: /ratings}", "/", "//x?q=1"),
        ("uri: {exact: /ratings/x}", "/new", "/new?q=1"),
        ("uri: {regex: '/rat.*'}", "/new", "/new?q=1"),
        ("method: {exact: GET}", "/pre/", "/pre/ratings/x?q=1"),
    ] {
        let expected = format!(
            "outbound|80||a.default.svc.cluster.local by default/a: http[0].match[0] path={path} authority=other"
        );
        check_decision(&one_rule(&rule(matches, uri)), "GET a /ratings/x?q=1", 0, &expected);
    }
}

#[test]
fn a_single_destination_has_the_last_word_and_of_several_the_route_has() {
    let level = |value: &str, remove: &str| {
        format!(
            "{{request: {{set: {{x: {value}, host: {value}}}, add: {{y: {value}}}, remove: [{remove}]}}, response: {{add: {{z: {value}}}}}}}"
        )
    };
    let rule = |weights: &str| {
        format!(
            "headers: {}\nroute:\n- {{destination: {{host: a}}, headers: {}}}\n{weights}",
            level("r", "r1"),
            level("d", "d1")
        )
    };
    let cluster = "outbound|80||a.default.svc.cluster.local by default/a: http[0] authority=r";
    check_decision(
        &one_rule(&rule("")),
        "GET a /",
        0,
        &format!("{cluster} -r1 -d1 x=r x=d y+=r y+=d response: z+=r z+=d"),
    );
    let several = rule("- {destination: {host: b}, weight: 0}\n")
        .replace("{destination: {host: a},", "{destination: {host: a}, weight: 1,");
    check_decision(
        &one_rule(&several),
        "GET a /",
        0,
        &format!("{cluster} -d1 x=d y+=d -r1 x=r y+=r response: z+=d z+=r"),
    );
}

#[test]
fn edits_that_istio_drops_are_dropped_with_a_warning() {
    let rule = "headers: {request: {set: {':path': /x, empty: '', p: '100%%'}, remove: [host]}}\nroute: [{destination: {host: a}}]\n";
    check_decision(
        &one_rule(rule),
        "GET a /",
        0,
        "outbound|80||a.default.svc.cluster.local by default/a: http[0] p=100%",
    );
    let at = "spec.http[0].headers.request";
    check_findings(
        &one_rule(rule),
        &[&format!("{at}.remove[0]: warning[header-ignored]"), &format!("{at}.set[:path]: warning[header-ignored]")],
    );
}

#[test]
fn edits_that_the_router_obeys_are_reported() {
    let rule = "headers: {request: {set: {X-Envoy-Upstream-Rq-Timeout-Ms: '5', x-envoy-max-retries: '1'}, remove: [x-envoy-upstream-rq-per-try-timeout-ms]}, response: {set: {x-envoy-upstream-rq-timeout-ms: '5'}}}\nroute: [{destination: {host: a}}]\n";
    let at = "spec.http[0].headers.request";
    check_findings(
        &one_rule(rule),
        &[
            &format!("{at}.remove[0]: warning[router-header]"),
            &format!("{at}.set[X-Envoy-Upstream-Rq-Timeout-Ms]: warning[router-header]"),
        ],
    );
}

#[test]
fn faults_are_found_all_at_once() {
    let objects = object(
        "VirtualService",
        "a",
        "hosts: [a]\nhttp:\n- match: [{uri: {exact: /a, prefix: /b}}, {uri: {regex: '*'}}, {headers: {a: null, b: {prefix: ''}, '@c': {exact: d}}}]\n  route: [{destination: {host: a}, weight: 0}, {destination: {host: b}, weight: 0}]\n- name: nothing\n- route: [{destination: {host: '*.a'}, weight: -1}]\n  mirror: {host: b}\n  mirrorPercentage: {value: 101}\n- route: [{destination: {host: a}, headers: {request: {set: {'a b': c, x-shunt-cluster: c, d: '%START_TIME%'}}}}]\n",
    );
    check_findings(
        &objects,
        &[
            "spec.http[0].match[0].uri: error[oneof]",
            "spec.http[0].match[1].uri: error[bad-regex]",
            "spec.http[0].match[2].headers[@c]: error[not-served]",
            "spec.http[0].match[2].headers[a]: error[null-match]",
            "spec.http[0].match[2].headers[b]: error[empty-prefix]",
            "spec.http[0].route: error[no-weight]",
            "spec.http[1]: error[no-action]",
            "spec.http[2].route[0].destination.host: error[bad-host]",
            "spec.http[2].route[0].weight: error[negative-weight]",
            "spec.http[2].mirrorPercentage: error[bad-percentage]",
            "spec.http[3].route[0].headers.request.set[a b]: error[bad-header-name]",
            "spec.http[3].route[0].headers.request.set[d]: error[bad-header-value]",
            "spec.http[3].route[0].headers.request.set[x-shunt-cluster]: error[reserved-header]",
        ],
    );
}

#[test]
fn what_is_not_served_yet_is_said() {
    check_findings(
        &object(
            "VirtualService",
            "a",
            "hosts: [a]\ngateways: [g]\nhttp: [{route: [{destination: {host: a}}]}]\ntcp: [{}]\n",
        ),
        &["spec.tcp: warning[not-served]", "spec.gateways[0]: warning[IST0101]"],
    );
}

const A: &str = "outbound|80||a.default.svc.cluster.local by default/a: http[0]";

#[test]
fn redirects_are_what_envoy_makes_of_them() {
    for (redirect, request, location) in [
        ("uri: /new", "GET a /old?q=1", "http://a/new?q=1"),
        ("uri: '/new?x=2'", "GET a /old?q=1", "http://a/new?x=2"),
        ("authority: other", "GET a:8080 /p?q", "http://other/p?q"),
        ("scheme: https", "GET a:80 /p", "https://a/p"),
        ("scheme: https", "GET a:8080 /p", "https://a:8080/p"),
        ("port: 8443", "GET a:80 /p", "http://a:8443/p"),
        ("port: 80", "GET a:9000 /p", "http://a:9000/p"),
        ("scheme: https, port: 443", "GET a:80 /p", "https://a/p"),
        ("derivePort: FROM_REQUEST_PORT", "GET a:81 /p", "http://a:81/p"),
    ] {
        let request = format!("{request}\nx-forwarded-proto: http");
        let rule = format!("headers: {{response: {{set: {{x: '1'}}}}}}\nredirect: {{{redirect}}}\n");
        check_decision(&one_rule(&rule), &request, 0, &format!("301 location: {location} response: x=1"));
    }
    // Without a path, the prefix is `/`; a port of 0 is none.
    for (rule, location) in [
        ("redirect: {prefixRewrite: /new/}\n", "http://a/new/x"),
        ("match: [{headers: {b: {exact: c}}}]\nredirect: {prefixRewrite: /new/}\n", "http://a/new/x"),
        ("redirect: {uri: /new, port: 0}\n", "http://a/new"),
    ] {
        check_decision(&one_rule(rule), "GET a /x\nb: c", 0, &format!("301 location: {location}"));
    }
    let prefix = "match: [{uri: {prefix: /old/}}]\nredirect: {prefixRewrite: /new/, redirectCode: 308}\n";
    check_decision(&one_rule(prefix), "GET a /old/x?q", 0, "308 location: http://a/new/x?q");
    check_findings(
        &one_rule("redirect: {uri: /x, redirectCode: 404}\n"),
        &["spec.http[0].redirect.redirectCode: error[bad-redirect-code]"],
    );
    check_findings(
        &one_rule("match: [{uri: {exact: /a}}]\nredirect: {prefixRewrite: /x}\n"),
        &["spec.http[0].redirect.prefixRewrite: error[prefix-rewrite]"],
    );
}

#[test]
fn direct_responses_carry_text_or_bytes() {
    check_decision(&one_rule("directResponse: {status: 503, body: {string: gone}}\n"), "GET a /", 0, "503 body: gone");
    check_decision(&one_rule("directResponse: {status: 200, body: {bytes: aGk=}}\n"), "GET a /", 0, "200 body: hi");
    let rule = "directResponse: {status: 200}\nfault: {abort: {httpStatus: 500, percentage: {value: 1}}}\n";
    check_findings(&one_rule(rule), &["spec.http[0].fault: error[conflict]"]);
    check_findings(
        &one_rule("directResponse: {status: 99}\n"),
        &["spec.http[0].directResponse.status: error[bad-status]"],
    );
}

#[test]
fn faults_are_drawn_on_their_own_and_need_a_percentage() {
    let rule = |fault: &str| one_rule(&format!("fault: {{{fault}}}\nroute: [{{destination: {{host: a}}}}]\n"));
    let both = "delay: {fixedDelay: 2s, percentage: {value: 50}}, abort: {httpStatus: 418, percentage: {value: 100}}";
    check_decision(&rule(both), "GET a /", 0, &format!("{A} delay=2000 abort=418"));
    check_decision(&rule(both), "GET a /", u64::MAX, &format!("{A} abort=418"));
    check_decision(
        &rule("abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}"),
        "GET a /",
        0,
        &format!("{A} abort=grpc-14"),
    );
    let share = "abort: {httpStatus: 500, percentage: {value: 0.0001}}";
    check_decision(&rule(share), "GET a /", u64::MAX / 1_000_001, &format!("{A} abort=500"));
    check_decision(&rule(share), "GET a /", u64::MAX / 999_999, A);
    check_decision(&rule("abort: {httpStatus: 500}"), "GET a /", 0, A);
    check_findings(&rule("abort: {httpStatus: 500}"), &["spec.http[0].fault.abort: warning[never-injected]"]);
    check_findings(
        &rule("delay: {exponentialDelay: 1s, percentage: {value: 1}}"),
        &["spec.http[0].fault.delay.exponentialDelay: error[not-served]"],
    );
    check_findings(
        &rule("abort: {httpStatus: 500, percentage: {value: 0.00001}}"),
        &["spec.http[0].fault.abort.percentage: error[bad-percentage]"],
    );
}

#[test]
fn cors_answers_preflights_and_marks_responses() {
    let rule = |more: &str| {
        one_rule(&format!(
            "corsPolicy: {{allowOrigins: [{{exact: 'http://o'}}], allowMethods: [GET, PUT], allowHeaders: ['*'], exposeHeaders: [x], maxAge: 24h, allowCredentials: true{more}}}\nroute: [{{destination: {{host: a}}}}]\n"
        ))
    };
    let preflight = |origin: &str| {
        format!(
            "OPTIONS a /\norigin: {origin}\naccess-control-request-method: PUT\naccess-control-request-headers: y,z"
        )
    };
    check_decision(
        &rule(""),
        &preflight("http://o"),
        0,
        "200 access-control-allow-origin: http://o access-control-allow-credentials: true access-control-allow-methods: GET,PUT access-control-allow-headers: y,z access-control-max-age: 86400 access-control-expose-headers: x",
    );
    check_decision(&rule(""), &preflight("http://other"), 0, A);
    check_decision(
        &rule(", unmatchedPreflights: IGNORE"),
        &preflight("http://other"),
        0,
        "200 access-control-allow-credentials: true access-control-allow-methods: GET,PUT access-control-allow-headers: y,z access-control-max-age: 86400",
    );
    check_decision(
        &rule(""),
        "GET a /\norigin: http://o",
        0,
        &format!(
            "{A} response: access-control-allow-origin=http://o access-control-allow-credentials=true access-control-expose-headers=x"
        ),
    );
    check_decision(&rule(""), "GET a /\norigin: http://other", 0, A);
    check_findings(
        &rule(", maxAge: 1500ms").replace("maxAge: 24h, ", ""),
        &["spec.http[0].corsPolicy.maxAge: error[bad-duration]"],
    );
}

#[test]
fn header_values_may_hold_commands() {
    let rule = "headers: {request: {set: {a: '%REQ(x)%-1', b: '%REQ(none)%', c: '%PROTOCOL%'}, add: {d: '%REQ(a)%'}}, response: {set: {e: '%REQ(a)%/%RESP(server)%/%RESPONSE_CODE%'}}}\nroute: [{destination: {host: a}}]\n";
    check_decision(&one_rule(rule), "GET a /\nx: v\na: old", 0, &format!("{A} a=v-1 d+=old response: e=v-1/up/200"));
}

#[test]
fn a_pattern_rewrites_every_occurrence() {
    let rule =
        "rewrite: {uriRegexRewrite: {match: '/v([0-9])', rewrite: '/api\\1'}}\nroute: [{destination: {host: a}}]\n";
    check_decision(&one_rule(rule), "GET a /v1/v2?q", 0, &format!("{A} path=/api1/api2?q"));
    let rule = rule.replace("\\1", "\\2");
    check_findings(&one_rule(&rule), &["spec.http[0].rewrite.uriRegexRewrite.rewrite: error[bad-substitution]"]);
}

#[test]
fn a_gateway_server_may_send_everything_to_https() {
    let server =
        "servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*'], tls: {httpsRedirect: true}}]\n";
    let rules =
        object("VirtualService", "v", "hosts: [h.com]\ngateways: [g]\nhttp:\n- route: [{destination: {host: a}}]\n");
    check_decision(
        &(object("Gateway", "g", server) + &rules),
        "GET h.com:80 /p?q\nx-forwarded-proto: http",
        0,
        "301 location: https://h.com:80/p?q",
    );
}

/// A root for host `r` that delegates under `root_match`, and its delegate `l` in namespace `ns` with `leaf_match`.
fn delegation(root_match: &str, leaf_match: &str) -> String {
    let matches = |text: &str| if text.is_empty() { String::new() } else { format!("  match: [{text}]\n") };
    let root = format!(
        "hosts: [r]\nhttp:\n- name: root\n{}  delegate: {{name: l, namespace: ns}}\n- route: [{{destination: {{host: r, subset: rest}}}}]\n",
        matches(root_match)
    );
    let leaf = format!("http:\n- name: leaf\n{}  route: [{{destination: {{host: s}}}}]\n", matches(leaf_match));
    service("r", &[80])
        + &object("VirtualService", "r", &root)
        + &object("VirtualService", "l", &leaf).replace("{name: l}", "{name: l, namespace: ns}")
}

#[test]
fn a_delegates_rules_are_crossed_with_the_roots() {
    // Named as they were written, on both sides.
    let to_leaf = |root: &str, leaf: &str| {
        format!("outbound|80||s.ns.svc.cluster.local by default/r: http[0]{root} -> ns/l: http[0]{leaf}")
    };
    let rest = "outbound|80|rest|r.default.svc.cluster.local by default/r: http[1]";
    let nested =
        delegation("{uri: {prefix: /a}}", "{uri: {prefix: /a/b}}, {uri: {exact: /a/x}, headers: {h: {exact: '1'}}}");
    check_decision(&nested, "GET r /a/bc", 0, &to_leaf(".match[0]", ".match[0]"));
    check_decision(&nested, "GET r /a/x\nh: 1", 0, &to_leaf(".match[0]", ".match[1]"));
    check_decision(&nested, "GET r /a/x", 0, rest);
    check_decision(
        &delegation("{uri: {prefix: /a}}", "{headers: {h: {exact: '1'}}}"),
        "GET r /ab\nh: 1",
        0,
        &to_leaf(".match[0]", ".match[0]"),
    );
    check_decision(&delegation("", "{uri: {regex: '/z.*'}}"), "GET r /zz", 0, &to_leaf("", ".match[0]"));
    check_decision(&delegation("{uri: {prefix: /a}}", ""), "GET r /a", 0, &to_leaf(".match[0]", ""));
}

#[test]
fn a_delegates_rule_that_asks_for_more_than_the_root_gives_is_dropped() {
    for (root, leaf) in [
        ("{uri: {prefix: /a}}", "{uri: {prefix: /b}}"),
        ("{uri: {regex: '/a.*'}}", "{uri: {regex: '/a/.*'}}"),
        ("{uri: {exact: /a}}", "{uri: {prefix: /a}}"),
        ("{uri: {prefix: /a}, ignoreUriCase: true}", "{uri: {prefix: /a/b}}"),
        ("{headers: {h: {exact: a}}}", "{headers: {h: {exact: b}}}"),
    ] {
        let objects = delegation(root, leaf);
        check_decision(&objects, "GET r /a", 0, "outbound|80|rest|r.default.svc.cluster.local by default/r: http[1]");
        check_findings(&objects, &["spec.http[0].match: warning[delegate-conflict]"]);
    }
}

#[test]
fn a_delegate_needs_a_root_and_a_root_its_delegate() {
    let alone = object("VirtualService", "l", "http: [{route: [{destination: {host: s}}]}]\n");
    check_findings(&alone, &["spec.hosts: error[no-hosts]"]);
    let lost = object("VirtualService", "r", "hosts: [r]\nhttp: [{delegate: {name: gone}}]\n");
    check_findings(&lost, &["spec.http[0].delegate: warning[unknown-delegate]"]);
}

#[test]
fn what_is_not_exported_is_left_out_and_said() {
    let rules = |export_to: &str| {
        service("r", &[80])
            + &object(
                "VirtualService",
                "r",
                &format!(
                    "exportTo: [{export_to}]\nhosts: [r]\nhttp: [{{route: [{{destination: {{host: r, subset: v1}}}}]}}]\n"
                ),
            )
    };
    let decided = |rules: &str, by: &str| check_decision(rules, "GET r /", 0, by);
    decided(&rules("default"), "outbound|80|v1|r.default.svc.cluster.local by default/r: http[0]");
    check_findings(&rules("'*'"), &[]);
    decided(
        &rules("elsewhere"),
        "outbound|80||r.default.svc.cluster.local by r.default.svc.cluster.local: default route",
    );
    check_findings(&rules("elsewhere"), &["spec.exportTo: note[not-exported]"]);
    let root = object("VirtualService", "r", "hosts: [r]\nhttp: [{delegate: {name: l}}]\n");
    let leaf = |export_to: &str| {
        object(
            "VirtualService",
            "l",
            &format!("exportTo: [{export_to}]\nhttp: [{{route: [{{destination: {{host: s}}}}]}}]\n"),
        )
    };
    // A delegate has to be seen by its root.
    check_findings(&(root.clone() + &leaf(".")), &[]);
    check_findings(&(root + &leaf("elsewhere")), &["spec.http[0].delegate: warning[delegate-not-exported]"]);
}

#[test]
fn a_repeated_name_costs_one_try() {
    let rules: Vec<_> = (0..2000)
        .map(|i| {
            format!("- match: [{{queryParams: {{u: {{regex: 'x{i}'}}}}}}]\n  route: [{{destination: {{host: a}}}}]\n")
        })
        .collect();
    let objects =
        service("a", &[80]) + &object("VirtualService", "a", &format!("hosts: [a]\nhttp:\n{}", rules.concat()));
    // Two thousand rules times twenty thousand repetitions would take minutes.
    check_decision(&objects, &format!("GET a /?{}", "u=a&".repeat(20_000)), 0, "404 shunt_no_rule");
}

#[test]
fn what_would_break_the_wire_is_refused() {
    let rule =
        |edit: &str| one_rule(&format!("headers: {{request: {{{edit}}}}}\nroute: [{{destination: {{host: a}}}}]\n"));
    check_findings(
        &rule("remove: [X-Forwarded-Proto]"),
        &["spec.http[0].headers.request.remove[0]: error[not-served]"],
    );
    check_findings(
        &rule("set: {content-length: '5'}"),
        &["spec.http[0].headers.request.set[content-length]: error[reserved-header]"],
    );
    check_findings(
        &one_rule("redirect: {uri: \"/a\\r\\nx: y\"}\n"),
        &["spec.http[0].redirect.uri: error[bad-header-value]"],
    );
    check_findings(
        &one_rule("rewrite: {uri: \"/a\\n\"}\nroute: [{destination: {host: a}}]\n"),
        &["spec.http[0].rewrite.uri: error[bad-header-value]"],
    );
}

#[test]
fn an_empty_prefix_replaces_nothing() {
    let rule = "match: [{uri: {prefix: ''}}]\nrewrite: {uri: /pre}\nroute: [{destination: {host: a}}]\n";
    check_decision(&one_rule(rule), "GET a /foo", 0, &format!("{A}.match[0] path=/pre/foo"));
}

#[test]
fn non_utf8_bytes_match_nothing_by_accident_and_harm_nothing() {
    let (policy, _) = compile(&short_rules("header x=a -> v1; regex /.* -> v2"));
    let policy = policy.expect("sound rules");
    let pairs: &[(&[u8], &[u8])] = &[(b":authority", b"r"), (b":path", b"/\xff\xfe"), (b"x", b"\xff")];
    let Decision::Forward(forward) = policy.decide(&RequestHead::new(pairs), &mut || 0) else {
        panic!("a rule takes it")
    };
    assert_eq!(forward.cluster, "outbound|80|v2|r.default.svc.cluster.local");
}

#[test]
fn the_index_agrees_with_walking_the_list() {
    let mut state = 7_u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..60 {
        let mut condition = || match next(8) {
            0 => format!("exact /{}", ["a", "b", "ab", "a/b"][next(4) as usize]),
            1 => format!("prefix /{}", ["", "a", "a/", "b", "ab"][next(5) as usize]),
            2 => format!("anycase /{}", ["A", "aB"][next(2) as usize]),
            3 => format!("header x={}", next(3)),
            4 => format!("has {}", ["x", "y"][next(2) as usize]),
            5 => format!("query q={}", next(3)),
            6 => format!("lacks {}", ["x", "y"][next(2) as usize]),
            _ => "regex /[ab]+".to_owned(),
        };
        let rules: Vec<String> = (0..12).map(|_| condition()).collect();
        let single: Vec<_> =
            rules.iter().map(|rule| compile(&short_rules(&format!("{rule} -> v"))).0.expect("sound")).collect();
        let listed: Vec<_> = rules.iter().enumerate().map(|(i, rule)| format!("{rule} -> v{i}")).collect();
        let together = compile(&short_rules(&listed.join("; "))).0.expect("sound");
        for _ in 0..40 {
            let target = ["/", "/a", "/b", "/ab", "/a/b", "/Ab", "/aba", "/c"][next(8) as usize];
            let query = ["", "?q=0", "?q=1", "?q=2&q=1"][next(4) as usize];
            let headers = ["", "\nx: 0", "\nx: 1", "\nx: 2\ny: 1", "\ny: 0"][next(5) as usize];
            let request = format!("GET r {target}{query}{headers}");
            let first = single.iter().position(|policy| decide(policy, &request, || 0).starts_with("outbound"));
            let found = decide(&together, &request, || 0);
            match first {
                Some(first) => {
                    assert!(found.starts_with(&format!("outbound|80|v{first}|")), "{listed:?}\n{request}\n{found}")
                }
                None => assert_eq!(found, "404 shunt_no_rule", "{listed:?}\n{request}"),
            }
        }
    }
}

#[test]
fn on_a_listener_of_istios_only_its_rules_are_served_and_the_rest_is_left_alone() {
    let objects = service("a", &[80, 9080])
        + &service("b", &[80])
        + &object("VirtualService", "a", ROUTE_TO_A)
        + &object("VirtualService", "u", "hosts: [elsewhere]\nhttp:\n- route: [{destination: {host: a, subset: x}}]\n");
    for port in [80, 9080] {
        let to = |rule: &str| format!("outbound|{port}|x|a.default.svc.cluster.local by default/{rule}: http[0]");
        check_on("mesh", port, &objects, "GET a /", &to("a"));
        check_on("mesh", port, &objects, "GET elsewhere.default /", &to("u"));
    }
    check_on("mesh", 7000, &objects, "GET a /", "pass");
    check_on("mesh", 80, &objects, "GET b /", "pass");
    check_on("mesh", 80, &objects, "GET nowhere /", "pass");
}

#[test]
fn on_a_gateways_listener_https_has_ended() {
    let gateway = "selector: {app: edge}\nservers:\n\
        - {port: {number: 80, name: http, protocol: HTTP}, hosts: [www.x]}\n\
        - {port: {number: 443, name: https, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: c}, hosts: [www.x]}\n\
        - {port: {number: 444, name: tls, protocol: TLS}, tls: {mode: PASSTHROUGH}, hosts: [www.x]}\n";
    let rule = "hosts: [www.x]\ngateways: [g]\nhttp:\n- route: [{destination: {host: a.x}}]\n";
    let objects = service("a.x", &[80]) + &object("Gateway", "g", gateway) + &object("VirtualService", "v", rule);
    for port in [80, 443] {
        check_on("default/g", port, &objects, "GET www.x /", "outbound|80||a.x by default/v: http[0]");
    }
    check_on("default/g", 444, &objects, "GET www.x /", "pass");
    check_on("default/other", 80, &objects, "GET www.x /", "pass");
    check_on("mesh", 80, &objects, "GET www.x /", "pass");
}
