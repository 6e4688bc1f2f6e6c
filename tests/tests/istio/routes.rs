//! The native twin against istiod: random objects, the routes that a real istiod makes of them, and the twin's.

use crate::world::programs;
use istio_config::yaml::{self, Sources};
use istio_config::{Config, Diagnostics, Severity};
use serde_json::{Value, json};
use shunt_tests::arms::{Arm, Engine, render as render_envoy, start_envoy};
use shunt_tests::differential::batch;
use shunt_tests::differential::configuration::Configuration;
use shunt_tests::fleet::Fleet;
use shunt_tests::istio::Programs;
use shunt_tests::istio::mesh::Mesh;
use shunt_tests::istio::objects::{self, APP, marker_host};
use shunt_tests::istio::routes::{self, ByDomain};
use shunt_tests::istio::workload::{Role, Workload, free_ip};
use shunt_tests::process::{free_address, page};
use std::collections::BTreeSet;

const SEED: u64 = 20_261_126;

/// Of all kinds; some are refused, and each role takes its own.
const CONFIGURATIONS: u64 = 400;

/// The label of the proxy, and the name of its Gateway.
const PROXY: &str = "edge";

/// The routes of the twin, as Envoy has them.
fn of_twin(programs: &Programs, files: &[(&str, String)]) -> ByDomain {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    std::fs::create_dir(&rules).unwrap();
    for (name, text) in files {
        std::fs::write(rules.join(name), text).unwrap();
    }
    let (admin, bootstrap) = (free_address(), folder.path().join("bootstrap.json"));
    render_envoy(&programs.shunt, &rules, free_address(), admin, &["--native"], &bootstrap)
        .unwrap_or_else(|error| panic!("{error}"));
    let envoy = start_envoy(&programs.envoy, &bootstrap, admin).unwrap_or_else(|error| panic!("{error}"));
    let dump: Value = serde_json::from_str(&page(admin, "/config_dump").unwrap()).unwrap();
    drop(envoy);
    routes::with_domain(&dump, "reviews.default.svc.cluster.local").expect("the fleet has routes")
}

/// The routes of istiod for a proxy.
fn of_istiod(programs: &Programs, role: Role, mesh: &Mesh, objects: &[Value]) -> ByDomain {
    let address = free_ip();
    let mut proxy = Workload::start(programs, mesh, role, PROXY, address).unwrap_or_else(|error| panic!("{error}"));
    let mut objects = objects.to_vec();
    let gateways = match role {
        Role::Sidecar => {
            objects.push(objects::sidecar(PROXY, address, &[80], None));
            &[][..]
        }
        Role::Gateway => {
            objects.push(objects::gateway(PROXY, address, 80, &["*"]));
            &[PROXY][..]
        }
    };
    for object in objects.iter_mut().filter(|object| object["kind"] == "Gateway") {
        object["spec"]["servers"][0]["bind"] = json!(address);
    }
    let version = mesh.put(&objects, gateways).unwrap_or_else(|error| panic!("{error}"));
    proxy.wait_for(version, 80).unwrap_or_else(|error| panic!("{error}\n{}", mesh.said()));
    routes::with_domain(&proxy.configuration(), &marker_host(version)).expect("the marker is served")
}

/// What a proxy of this role has of a configuration, or nothing: one listener, for rules of the mesh or of Gateways.
fn for_role(mut configuration: Configuration, role: Role) -> Option<Configuration> {
    let at_gateway = configuration.objects.iter().any(|object| object["kind"] == "Gateway");
    if at_gateway != (role == Role::Gateway) {
        return None;
    }
    for object in &mut configuration.objects {
        if object["kind"] == "Gateway" {
            object["spec"]["selector"] = json!({ APP: PROXY });
            object["spec"]["servers"].as_array_mut().unwrap().truncate(1);
        }
        if let Some(gateways) = object.pointer_mut("/spec/gateways").and_then(Value::as_array_mut) {
            gateways.retain(|name| name != "mesh");
        }
        // istiod's validation does not know that a value can be cut.
        *object = serde_json::from_str(&object.to_string().replace("):2%", ")%")).unwrap();
    }
    Some(configuration)
}

/// Something that is not the same in istiod's routes and in the twin's.
enum Difference {
    OnlyIstiod(String),
    OnlyTwin(String),
    /// The twin has the domain, and istiod has it with a dot at its end.
    OnlyWithDot(String),
    Route {
        domain: String,
        at: String,
        istiod: Value,
        twin: Value,
    },
}

/// Whether a reason is about a difference.
type About = fn(&Difference) -> bool;

/// What differs, where, and why it may. Each line has to be met, or it has outlived its reason.
const EXPLAINED: [(&[Role], About, &str); 7] = [
    (
        &[Role::Sidecar, Role::Gateway],
        |difference| match difference {
            Difference::Route { at, istiod, twin, .. } => {
                let words = |value: &Value| -> Vec<String> {
                    let all = value.as_str().unwrap_or_default().split(',').filter(|word| !word.is_empty());
                    all.map(str::to_owned).collect()
                };
                at.ends_with("/retry_policy/retry_on") && words(istiod) == words(twin)
            }
            _ => false,
        },
        "where only statuses are given, istiod's list begins with an empty word, which Envoy passes over",
    ),
    (
        &[Role::Sidecar, Role::Gateway],
        |difference| matches!(difference, Difference::OnlyTwin(domain) if domain.ends_with('.')),
        "istiod has names with a dot at the end for services alone; Shunt has them for every host",
    ),
    (
        &[Role::Sidecar],
        |difference| matches!(difference, Difference::OnlyTwin(domain) if domain.starts_with("two-ports")),
        "a listener of a Sidecar knows the services that have its port",
    ),
    (
        &[Role::Sidecar],
        |difference| matches!(difference, Difference::OnlyWithDot(domain) if domain.ends_with(".test")),
        "a rule's host with a dot at its end is another host for istiod, and the same for Shunt",
    ),
    (
        &[Role::Sidecar],
        |difference| matches!(difference, Difference::OnlyTwin(domain) if is_random(domain) && !domain.ends_with(".test")),
        "istiod has short names of services; Shunt has them of every host in a namespace",
    ),
    (
        &[Role::Gateway],
        |difference| matches!(difference, Difference::OnlyTwin(domain) if !is_random(domain)),
        "the twin's one listener has the mesh's services too",
    ),
    (
        &[Role::Sidecar],
        |difference| matches!(difference, Difference::OnlyIstiod(domain) if domain == "*"),
        "the twin was given no outboundTrafficPolicy",
    ),
];

/// Whether the domain is one of a random configuration.
fn is_random(domain: &str) -> bool {
    let labels: Vec<&str> = domain.split('.').collect();
    labels.iter().any(|label| label.len() > 1 && label[1..].bytes().all(|byte| byte.is_ascii_digit()))
}

fn differences(istiod: &ByDomain, twin: &ByDomain) -> Vec<Difference> {
    let only = |one: &ByDomain, other: &ByDomain| -> Vec<String> {
        one.keys().filter(|domain| !other.contains_key(*domain)).cloned().collect()
    };
    let mut all: Vec<Difference> = only(istiod, twin).into_iter().map(Difference::OnlyIstiod).collect();
    let of_twin = |domain: String| match istiod.contains_key(&format!("{domain}.")) {
        true => Difference::OnlyWithDot(domain),
        false => Difference::OnlyTwin(domain),
    };
    all.extend(only(twin, istiod).into_iter().map(of_twin));
    for (domain, routes) in istiod {
        let Some(others) = twin.get(domain) else { continue };
        let found = routes::differences(&json!(routes), &json!(others));
        let of_domain = |(at, istiod, twin)| Difference::Route { domain: domain.clone(), at, istiod, twin };
        all.extend(found.into_iter().map(of_domain));
    }
    all
}

/// Whether `shunt check` refuses what stands there, as Istio's validation does; a proxy may take more.
fn has_errors(text: &str) -> bool {
    let (mut config, mut sources, mut diagnostics) = (Config::default(), Sources::default(), Diagnostics::default());
    yaml::read("f", text, &mut config, &mut sources, &mut diagnostics);
    rule_analysis::check(config, "default", &mut diagnostics);
    // What a configuration refers to stands with the fleet's services, and not here.
    diagnostics.iter().any(|found| found.severity == Severity::Error)
}

/// The configurations that Istio's validation takes, as the engine does.
fn valid(role: Role, mesh: &Mesh, fleet: &Fleet) -> Vec<Configuration> {
    let mut taken = Vec::new();
    for drawn in (0..CONFIGURATIONS).filter_map(|number| for_role(Configuration::new(SEED, number), role)) {
        if Engine.start(&batch::case(&[&drawn])).is_err() {
            continue;
        }
        let text = fleet.filled(&drawn.text());
        if has_errors(&text) {
            continue;
        }
        let objects = objects::read(&text).unwrap();
        let refused = objects.iter().try_for_each(|object| mesh.validate(object));
        refused.unwrap_or_else(|error| panic!("istiod alone refuses: {error}"));
        taken.push(drawn);
    }
    taken
}

fn run(role: Role, at_least: usize) {
    let programs = programs();
    let mesh = Mesh::start(&programs, &json!({})).unwrap_or_else(|error| panic!("{error}"));
    let fleet = Fleet::imaginary();
    let taken = valid(role, &mesh, &fleet);
    assert!(taken.len() >= at_least, "only {} configurations", taken.len());
    let files = fleet.manifests(&batch::case(&taken.iter().collect::<Vec<_>>()));
    let objects: Vec<Value> = files.iter().flat_map(|(_, text)| objects::read(text).unwrap()).collect();
    let mut istiod = of_istiod(&programs, role, &mesh, &objects);
    istiod.retain(|domain, _| !domain.ends_with(".marker.test"));
    let twin = of_twin(&programs, &files);
    let (mut met, mut unexplained) = (BTreeSet::new(), Vec::new());
    for difference in differences(&istiod, &twin) {
        match EXPLAINED.iter().position(|(roles, about, _)| roles.contains(&role) && about(&difference)) {
            Some(place) => drop(met.insert(place)),
            None => unexplained.push(match difference {
                Difference::OnlyIstiod(domain) => format!("only istiod has {domain}"),
                Difference::OnlyTwin(domain) => format!("only the twin has {domain}"),
                Difference::OnlyWithDot(domain) => format!("istiod has {domain} with a dot alone"),
                Difference::Route { domain, at, istiod, twin } => {
                    format!("{domain} {at}: {istiod}, and the twin {twin}")
                }
            }),
        }
    }
    let alike = istiod.iter().filter(|(domain, routes)| is_random(domain) && twin.get(*domain) == Some(routes));
    println!(
        "{} configurations, {} domains of theirs in istiod, {} exactly alike",
        taken.len(),
        istiod.keys().filter(|domain| is_random(domain)).count(),
        alike.count()
    );
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    for (place, (roles, _, reason)) in EXPLAINED.iter().enumerate() {
        assert!(!roles.contains(&role) || met.contains(&place), "no longer true: {reason}");
    }
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn a_sidecar_has_the_routes_of_the_twin() {
    run(Role::Sidecar, 200);
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn a_gateway_has_the_routes_of_the_twin() {
    run(Role::Gateway, 60);
}
