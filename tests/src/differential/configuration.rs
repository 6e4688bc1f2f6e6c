//! One random configuration: objects under hosts of its own, and requests to them. Any number of them can stand side by side.

use super::requests::Sketch;
use super::rules::Scene;
use super::words::{HEADERS, PARAMETERS};
use crate::case::Request;
use crate::chance::SplitMix;
use serde_json::{Value, json};

/// How many requests each configuration gets.
pub const REQUESTS: usize = 10;

/// How hosts begin whose endpoints are chosen by a hash.
const HASHED: &str = "h";

/// The endpoints of a service that a configuration brings: those of the fleet by name, their `version` and their `track`.
const OWN: [(&str, &str, &str); 3] =
    [("reviews-v1", "v1", "stable"), ("reviews-v2", "v2", "stable"), ("ratings-v1", "v2", "canary")];

/// Whether a hash may choose this endpoint.
pub fn is_hash_chosen(endpoint: &str) -> bool {
    OWN.iter().any(|(name, ..)| *name == endpoint)
}

/// Whether a request is to such a host.
pub fn is_hashed(request: &Request) -> bool {
    let host = request.send.host.to_ascii_lowercase();
    host.strip_prefix(HASHED).is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// Objects, and what is asked of them.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Its number in the run; seed and number make it again.
    pub number: u64,
    /// Istio's objects.
    pub objects: Vec<Value>,
    /// Requests to its hosts.
    pub requests: Vec<Request>,
}

impl Configuration {
    /// The configuration of this number.
    pub fn new(seed: u64, number: u64) -> Self {
        let mut draw = SplitMix::new(SplitMix::new(seed ^ number.rotate_left(32)).draw());
        let can_hang = draw.percent(5);
        let name = |what: &str| format!("{what}{number}");
        let mut scene = Scene { draw: &mut draw, own: Vec::new(), gateways: Vec::new(), can_hang, wanted: Vec::new() };
        let mut objects = Vec::new();
        let hosts = match scene.draw.below(10) {
            0..=4 => in_mesh(&mut scene, &name("m"), &mut objects),
            5 => with_wildcard(&mut scene, &name("w"), &mut objects),
            6 => delegating(&mut scene, &name("d"), &mut objects),
            7 => match scene.draw.percent(40) {
                true => own_service(&mut scene, &name(HASHED), true, &mut objects),
                false => own_service(&mut scene, &name("s"), false, &mut objects),
            },
            _ => at_gateway(&mut scene, &name("g"), &mut objects),
        };
        let Scene { wanted, .. } = scene;
        // Of a service without a rule nothing limits the time, and whoever asks a silent endpoint would wait for ever.
        let can_hang = can_hang && objects.iter().any(|object| object["kind"] == "VirtualService");
        let mut requests = Vec::new();
        while requests.len() < REQUESTS {
            let mut sketch = match wanted.is_empty() || draw.percent(25) {
                true => Sketch::any(&mut draw),
                false => wanted[draw.below(wanted.len())].clone(),
            };
            if draw.percent(40) {
                sketch.change(&mut draw);
            }
            let host = &hosts[draw.below(hosts.len())];
            let host = match draw.below(12) {
                0 => format!("{host}:8080"),
                1 => host.to_ascii_uppercase(),
                2 => format!("{host}."),
                _ => host.clone(),
            };
            requests.push(sketch.to(&host, can_hang, &mut draw));
        }
        Self { number, objects, requests }
    }

    /// As documents of one file.
    pub fn text(&self) -> String {
        // What stands for a port is a number.
        let plain = |object: &Value| format!("---\n{object}\n").replace("\"{", "{").replace("}\"", "}");
        let placeholder = |object: &Value| object["kind"] == "ServiceEntry";
        let text = |object: &Value| if placeholder(object) { plain(object) } else { format!("---\n{object}\n") };
        self.objects.iter().map(text).collect()
    }
}

fn virtual_service(name: &str, spec: &Value) -> Value {
    object("VirtualService", name, spec)
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": kind,
        "metadata": { "name": name, "namespace": "default" },
        "spec": spec,
    })
}

/// One VirtualService for one or two hosts.
fn in_mesh(scene: &mut Scene<'_>, name: &str, objects: &mut Vec<Value>) -> Vec<String> {
    let mut hosts = vec![format!("{name}.test")];
    if scene.draw.percent(20) {
        hosts.push(format!("Second.{name}.test"));
    }
    // A name without a dot is of the rule's namespace, and reached by it only where a service is called so.
    if scene.draw.percent(10) {
        hosts.push(name.to_owned());
    }
    let export_to = scene.draw.pick(&["*", "*", "*", "*", ".", "default", "other"]);
    let dot = if scene.draw.percent(10) { "." } else { "" };
    let written: Vec<String> =
        hosts.iter().map(|host| format!("{host}{}", if host.contains('.') { dot } else { "" })).collect();
    let spec = json!({ "hosts": written, "exportTo": [export_to], "http": scene.rules() });
    objects.push(virtual_service(name, &spec));
    hosts
}

/// A wildcard, and perhaps a longer one or a name under it.
fn with_wildcard(scene: &mut Scene<'_>, name: &str, objects: &mut Vec<Value>) -> Vec<String> {
    let wide = virtual_service(
        &format!("{name}-wide"),
        &json!({ "hosts": [format!("*.{name}.test")], "http": scene.rules() }),
    );
    let narrow_host = scene.draw.pick(&["a.", "*.a.", "*-x."]);
    let narrow = json!({ "hosts": [format!("{narrow_host}{name}.test")], "http": scene.rules() });
    objects.extend([wide, virtual_service(&format!("{name}-narrow"), &narrow)]);
    ["a.", "b.", "b.a.", "b-x.", ""].iter().map(|host| format!("{host}{name}.test")).collect()
}

/// A VirtualService that hands over to another one.
fn delegating(scene: &mut Scene<'_>, name: &str, objects: &mut Vec<Value>) -> Vec<String> {
    let host = format!("{name}.test");
    let mut rules = scene.rules();
    for rule in &mut rules {
        if scene.draw.percent(60) {
            let kept = ["match", "headers", "timeout"];
            let mut root: serde_json::Map<String, Value> = rule
                .as_object()
                .map(|rule| rule.iter().filter(|(field, _)| kept.contains(&field.as_str())).map(own).collect())
                .unwrap_or_default();
            root.insert("delegate".to_owned(), json!({ "name": format!("{name}-leaf") }));
            *rule = Value::Object(root);
        }
    }
    let leaf = virtual_service(&format!("{name}-leaf"), &json!({ "http": scene.rules() }));
    objects.extend([virtual_service(name, &json!({ "hosts": [host], "http": rules })), leaf]);
    vec![host]
}

fn own((field, value): (&String, &Value)) -> (String, Value) {
    (field.clone(), value.clone())
}

/// A service with ports, subsets, perhaps rules: the endpoints are the fleet's. `hashed`: chosen by a hash.
fn own_service(scene: &mut Scene<'_>, name: &str, hashed: bool, objects: &mut Vec<Value>) -> Vec<String> {
    let host = format!("{name}.test");
    let endpoint = |at: &str, version: &str, track: &str| json!({ "address": "127.0.0.1", "ports": { "http": format!("{{{at}}}") }, "labels": { "version": version, "track": track } });
    let ports = json!([{ "number": 80, "name": "http", "protocol": "HTTP" }]);
    let endpoints: Vec<Value> = OWN.iter().map(|(at, version, track)| endpoint(at, version, track)).collect();
    let entry = json!({ "hosts": [host], "resolution": "STATIC", "ports": ports, "endpoints": endpoints });
    objects.push(object("ServiceEntry", name, &entry));
    let balancing = match hashed {
        true => consistent_hash(scene.draw),
        false => json!({ "simple": scene.draw.pick(&["ROUND_ROBIN", "RANDOM", "LEAST_REQUEST"]) }),
    };
    let mut rule = json!({
        "host": host,
        "trafficPolicy": { "loadBalancer": balancing },
        "subsets": [
            { "name": "one", "labels": { "version": "v1" } },
            { "name": "two", "labels": { "version": "v2" } },
            { "name": "canary", "labels": { "version": "v2", "track": "canary" } },
            { "name": "none", "labels": { "version": "v3" } },
            { "name": "all" },
        ],
    });
    if hashed && scene.draw.percent(40) {
        rule["subsets"][4]["trafficPolicy"] = json!({ "loadBalancer": consistent_hash(scene.draw) });
    }
    if hashed && scene.draw.percent(20) {
        let of_port = json!({ "port": { "number": 80 }, "loadBalancer": consistent_hash(scene.draw) });
        rule["trafficPolicy"]["portLevelSettings"] = json!([of_port]);
    }
    objects.push(object("DestinationRule", name, &rule));
    scene.own = ["one", "two", "canary", "none", "all"]
        .iter()
        .map(|subset| json!({ "host": host, "subset": subset }))
        .collect();
    scene.own.push(json!({ "host": host }));
    if scene.draw.percent(80) {
        objects.push(virtual_service(name, &json!({ "hosts": [host], "http": scene.rules() })));
    }
    vec![host]
}

/// A key and a table.
fn consistent_hash(draw: &mut SplitMix) -> Value {
    let mut hash = match draw.below(6) {
        0 | 1 => json!({ "httpHeaderName": draw.pick(&HEADERS) }),
        2 => {
            let mut cookie = json!({ "name": "session" });
            for (field, value) in [
                ("ttl", json!(draw.pick(&["0s", "60s", "1.5s"]))),
                ("path", json!("/a")),
                ("attributes", json!([{ "name": "SameSite", "value": "Lax" }, { "name": "Secure" }])),
            ] {
                if draw.percent(50) {
                    cookie[field] = value;
                }
            }
            json!({ "httpCookie": cookie })
        }
        3 => json!({ "httpQueryParameterName": draw.pick(&PARAMETERS) }),
        4 => json!({ "useSourceIp": draw.percent(80) }),
        _ => json!({}),
    };
    match draw.below(5) {
        0 => hash["ringHash"] = json!({ "minimumRingSize": draw.pick(&[&1, &64]) }),
        1 => hash["minimumRingSize"] = json!(16),
        2 => hash["maglev"] = json!({ "tableSize": draw.pick(&[&3, &101]) }),
        3 => hash["maglev"] = json!({}),
        _ => {}
    }
    json!({ "consistentHash": hash })
}

/// A Gateway with one or two servers, and up to three VirtualServices that may share hosts.
fn at_gateway(scene: &mut Scene<'_>, name: &str, objects: &mut Vec<Value>) -> Vec<String> {
    let full = format!("default/{name}");
    let mut first =
        json!({ "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": [format!("*.{name}.test")] });
    if scene.draw.percent(10) {
        first["tls"] = json!({ "httpsRedirect": true });
    }
    let mut servers = vec![first];
    if scene.draw.percent(30) {
        let host = scene.draw.pick(&["a.", "./a.", "other/a."]);
        let port = json!({ "number": 8080, "name": "http-alt", "protocol": "HTTP" });
        servers.push(json!({ "port": port, "hosts": [format!("{host}{name}.test")] }));
    }
    let spec = json!({ "selector": { "istio": "ingressgateway" }, "servers": servers });
    objects.push(object("Gateway", name, &spec));
    scene.gateways = vec![full];
    for place in 0..1 + scene.draw.below(3) {
        let host = scene.draw.pick(&["a.", "a.", "*.", "b."]);
        let mut gateways = vec![name.to_owned()];
        if host != "*." && place == 0 && scene.draw.percent(20) {
            gateways.push("mesh".to_owned());
        }
        let spec = json!({ "hosts": [format!("{host}{name}.test")], "gateways": gateways, "http": scene.rules() });
        let mut service = virtual_service(&format!("{name}-{place}"), &spec);
        service["metadata"]["creationTimestamp"] = json!(format!("2024-01-0{}T00:00:00Z", 1 + scene.draw.below(3)));
        objects.push(service);
    }
    ["a.", "a.", "b.", "c."].iter().map(|host| format!("{host}{name}.test")).collect()
}
