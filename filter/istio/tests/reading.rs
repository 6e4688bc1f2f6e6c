//! Text in, objects and findings out: every fault with its line, its field and a way out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use istio_config::{Config, Diagnostics, yaml};

fn read(text: &str) -> (Config, Vec<String>) {
    let (mut config, mut sources, mut diagnostics) =
        (Config::default(), yaml::Sources::default(), Diagnostics::default());
    yaml::read("f.yaml", text, &mut config, &mut sources, &mut diagnostics);
    let findings = diagnostics
        .iter()
        .map(|d| {
            let (file, at) = sources.locate(&d.object, &d.path).expect("every finding has a place");
            format!(
                "{file}:{}:{}: {}: {}[{}]: {} | {}",
                at.line, at.column, d.path, d.severity, d.code, d.message, d.help
            )
        })
        .collect();
    (config, findings)
}

/// `expected` holds one line for each finding; each must occur in the finding of the same number.
fn check(text: &str, expected: &[&str]) {
    let (_, findings) = read(text);
    assert_eq!(findings.len(), expected.len(), "{findings:#?}");
    for (finding, part) in findings.iter().zip(expected) {
        assert!(finding.contains(part), "{finding}\ndoes not contain\n{part}");
    }
}

const HEAD: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\n";

#[test]
fn every_fault_of_an_object_is_reported_with_line_and_field() {
    check(
        &format!(
            "{HEAD}spec:\n  hosts: [a]\n  http:\n  - match:\n    - ury: {{prefix: /}}\n    timeout: 5\n  - retries: {{attempts: many}}\n    route:\n    - destination: {{host: a}}\n      weigth: 3\n"
        ),
        &[
            "f.yaml:8:7: spec.http[0].match[0].ury: error[unknown-field]: unknown field `ury` | did you mean `uri`?",
            "f.yaml:9:5: spec.http[0].timeout: error[bad-type]: this is integer `5` | write a string",
            "f.yaml:10:15: spec.http[1].retries.attempts: error[bad-type]: this is string \"many\" | write a whole number",
            "f.yaml:13:7: spec.http[1].route[0].weigth: error[unknown-field]: unknown field `weigth` | did you mean `weight`?",
        ],
    );
}

#[test]
fn numbers_that_do_not_fit_name_what_does() {
    check(
        &format!(
            "{HEAD}spec:\n  hosts: [a]\n  http:\n  - retries: {{attempts: 99999999999}}\n    route:\n    - destination: {{host: a, port: {{number: -1}}}}\n  - retries: [5]\n"
        ),
        &[
            "attempts: error[bad-type]: this is integer `99999999999` | write a whole number from -2147483648 to 2147483647",
            "port.number: error[bad-type]: this is integer `-1` | write a whole number from 0 to 4294967295",
            "http[1].retries: error[bad-type]: this is a list | write a map",
        ],
    );
}

#[test]
fn durations_and_enumerations_name_what_they_take() {
    check(
        &format!("{HEAD}spec:\n  http:\n  - timeout: 5 seconds\n    corsPolicy: {{unmatchedPreflights: DROP}}\n"),
        &[
            "unknown value `DROP` | write one of UNSPECIFIED, FORWARD, IGNORE",
            "`5 seconds` is not a duration | write it like `350ms`",
        ],
    );
}

#[test]
fn null_is_the_same_as_absent() {
    let (config, findings) = read(&format!(
        "{HEAD}spec:\n  hosts: [a]\n  gateways:\n  http:\n  - match:\n    route: null\n    timeout: ~\n"
    ));
    assert_eq!(findings, [""; 0]);
    assert_eq!(config.virtual_services[0].spec.http.len(), 1);
}

#[test]
fn a_null_matcher_is_kept_apart_from_an_empty_one() {
    let (config, _) = read(&format!("{HEAD}spec:\n  http:\n  - match:\n    - headers: {{a: {{}}, b: null}}\n"));
    let headers = &config.virtual_services[0].spec.http[0].r#match[0].headers;
    assert!(headers["a"].is_some() && headers["b"].is_none());
}

#[test]
fn lists_and_several_documents_are_read_and_other_kinds_passed_over() {
    let (config, findings) = read(
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: networking.istio.io/v1beta1\n  kind: Gateway\n  metadata: {name: g}\n  spec: {}\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: c}\n---\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d, namespace: 'n'}\nspec: {host: h}\nstatus: {anything: 1}\n",
    );
    assert_eq!(findings, ["f.yaml:9:3: kind: note[kind-not-served]: v1 ConfigMap is passed over | "]);
    assert_eq!((config.gateways.len(), config.destination_rules.len()), (1, 1));
    assert_eq!(config.destination_rules[0].meta.namespace(), "n");
}

#[test]
fn json_is_read_as_well() {
    let text = r#"{"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "j"}, "spec": {"hosts": ["h"], "http": [{"name": "\u0041\t"}]}}"#;
    let (config, findings) = read(text);
    assert_eq!(findings, [""; 0]);
    assert_eq!(config.virtual_services[0].spec.http[0].name, "A\t");
}

#[test]
fn the_same_name_twice_is_an_error() {
    check(
        &format!("{HEAD}spec: {{}}\n---\n{HEAD}spec: {{}}\n"),
        &["f.yaml:8:12: metadata.name: error[duplicate-object]: VirtualService default/a is defined twice"],
    );
}

#[test]
fn syntax_faults_say_where() {
    check("a: [1, 2\nb: 3\n", &["error[syntax]: not valid YAML"]);
    check("a:\n\tb: 1\n", &["f.yaml:2:"]);
    check("a: 1\na: 2\n", &["f.yaml:2:1: : error[syntax]: `a` stands here twice"]);
    check("just text\n", &["error[not-an-object]"]);
}

#[test]
fn aliases_that_repeat_each_other_end() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let previous = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", [previous.as_str(); 10].join(", "));
    }
    check(&text, &["the aliases stand for more than 100000 values"]);
}

#[test]
fn deep_nesting_ends() {
    // The parser has a limit of its own for brackets; block style meets ours.
    check(&"[".repeat(100_000), &["error[syntax]"]);
    let deep: String = (0..200).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    check(&deep, &["nested deeper than 100 levels"]);
}

#[test]
fn windows_line_ends_and_byte_order_marks_are_no_matter() {
    let (config, findings) = read(&format!("\u{feff}{HEAD}spec: {{hosts: [a]}}\n").replace('\n', "\r\n"));
    assert_eq!(findings, [""; 0]);
    assert_eq!(config.virtual_services[0].spec.hosts, ["a"]);
}

const CLUSTER: &str = "apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: a}
spec:
  selector: {app: reviews}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: grpc-api, port: 90, targetPort: api}
  - {name: dns, port: 53, protocol: UDP}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: reviews-x, namespace: a, labels: {kubernetes.io/service-name: reviews}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: grpc-api, port: 9090}]
endpoints:
- {addresses: [10.0.0.1], conditions: {ready: true}, targetRef: {kind: Pod, name: reviews-1}}
- {addresses: [10.0.0.2], conditions: {ready: false}, targetRef: {kind: Pod, name: reviews-2}}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-1, namespace: a, labels: {app: reviews, version: v1}}
status: {podIP: 10.0.0.1}
";

#[test]
fn a_service_of_kubernetes_is_a_service() {
    let (mut config, findings) = read(CLUSTER);
    assert_eq!(findings, [""; 0]);
    assert!(!config.is_empty());
    let mut diagnostics = Diagnostics::default();
    config.complete(&mut diagnostics);
    assert_eq!(diagnostics, Diagnostics::default());
    let entry = &config.service_entries[0];
    assert_eq!(
        (&*entry.meta.reference.kind, entry.spec.hosts.as_slice()),
        ("Service", &["reviews.a.svc.cluster.local".to_owned()][..])
    );
    let ports: Vec<_> = entry.spec.ports.iter().map(|port| (port.number, &*port.name, &*port.protocol)).collect();
    assert_eq!(ports, [(80, "http", "HTTP"), (90, "grpc-api", "GRPC")]);
    let [endpoint] = entry.spec.endpoints.as_slice() else { panic!("one endpoint is ready") };
    assert_eq!((&*endpoint.address, endpoint.ports["http"], endpoint.ports["grpc-api"]), ("10.0.0.1", 8080, 9090));
    assert_eq!(endpoint.labels["version"], "v1");
    // The filter reads what is written for it.
    let mut again = Config::default();
    again.add(config.written[0].clone(), &mut diagnostics);
    assert_eq!((diagnostics, again.service_entries[0].spec.ports.len()), (Diagnostics::default(), 2));
}

#[test]
fn what_the_files_do_not_say_about_endpoints_is_told() {
    let codes = |text: &str| {
        let (mut config, mut diagnostics) = (read(text).0, Diagnostics::default());
        config.complete(&mut diagnostics);
        let known = config.endpoints_unknown.is_empty();
        (known, diagnostics.iter().map(|found| format!("{}[{}]", found.severity, found.code)).collect::<Vec<_>>())
    };
    let service = CLUSTER.split("---").next().unwrap();
    assert_eq!(codes(service), (false, vec!["note[endpoints-unknown]".to_owned()]));
    let without_pods = CLUSTER.replace("kind: Pod\n", "kind: ConfigMap\n");
    assert_eq!(codes(&without_pods), (false, vec![]));
    let subsets = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d, namespace: a}\nspec: {host: reviews, subsets: [{name: v1}]}\n";
    assert_eq!(codes(&(without_pods + subsets)), (false, vec!["warning[endpoints-unknown]".to_owned()]));
    assert_eq!(codes(CLUSTER), (true, vec![]));
}

#[test]
fn what_kubectl_reads_as_a_boolean_is_none_of_the_texts() {
    let rule = |value: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\nspec: {{hosts: [a], http: [{{match: [{{headers: {{x: {{exact: {value}}}}}}}]}}]}}\n"
        )
    };
    for value in ["yes", "No", "ON", "off", "y", "N", "true"] {
        check(&rule(value), &["spec.http[0].match[0].headers.x.exact: error[bad-type]: this is boolean"]);
        check(&rule(&format!("'{value}'")), &[]);
    }
    check(&rule("yEs"), &[]);
    let named = rule("x").replace("name: a", "name: on, labels: {a: 1}");
    check(
        &named,
        &["metadata.name: error[bad-type]: this is `true`", "metadata.labels[a]: error[bad-type]: this is `1`"],
    );
    // Other documents than manifests are nobody's but ours.
    let (documents, _) = yaml::documents("a: yes\n");
    assert_eq!(documents[0].value["a"], "yes");
}

#[test]
fn a_file_that_was_emptied_is_told_from_one_that_is_empty_on_purpose() {
    let sources = |files: &[(&str, &str)]| {
        let (mut config, mut sources, mut diagnostics) =
            (Config::default(), yaml::Sources::default(), Diagnostics::default());
        for (name, text) in files {
            yaml::read(name, text, &mut config, &mut sources, &mut diagnostics);
        }
        sources
    };
    let object = format!("{HEAD}spec: {{hosts: [a]}}\n");
    let before = sources(&[("a", &object), ("b", &object), ("c", ""), ("d", "# nothing here\n")]);
    let check = |files: &[(&str, &str)], emptied: &[&str]| {
        assert_eq!(sources(files).emptied_since(&before), emptied, "{files:?}");
    };
    check(&[("a", ""), ("b", "\n \n"), ("c", ""), ("d", "")], &["a", "b"]);
    check(&[("a", "# was an object\n"), ("b", &object)], &[]);
    check(&[("c", &object), ("d", &object)], &[]);
}
