//! The services behind every case, and their names: the same in all arms, whatever addresses they have there.

use crate::case::{Answer, Behaviour, Case, Script};
use crate::observed::{Arrival, FROM};
use crate::{asked, escapes};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A service: its host, its ports, and by endpoint the name, the version and the place in `ports`.
struct Service {
    host: &'static str,
    ports: &'static [u16],
    endpoints: &'static [(&'static str, &'static str, usize)],
}

const SERVICES: [Service; 6] = [
    Service {
        host: "reviews.default.svc.cluster.local",
        ports: &[80],
        endpoints: &[("reviews-v1", "v1", 0), ("reviews-v2", "v2", 0), ("reviews-v3", "v3", 0)],
    },
    Service {
        host: "ratings.default.svc.cluster.local",
        ports: &[80],
        endpoints: &[("ratings-v1", "v1", 0), ("ratings-v2", "v2", 0)],
    },
    Service {
        host: "details.default.svc.cluster.local",
        ports: &[80],
        endpoints: &[("details-a", "v1", 0), ("details-b", "v1", 0)],
    },
    Service {
        host: "two-ports.default.svc.cluster.local",
        ports: &[8080, 9090],
        endpoints: &[("two-ports-8080", "v1", 0), ("two-ports-9090", "v1", 1)],
    },
    Service { host: "external.example.com", ports: &[80], endpoints: &[("external", "v1", 0)] },
    Service { host: "down.default.svc.cluster.local", ports: &[80], endpoints: &[(DOWN, "v1", 0)] },
];

/// The endpoint that nobody listens on.
pub const DOWN: &str = "down";

/// Every endpoint by name.
pub fn endpoints() -> impl Iterator<Item = &'static str> {
    SERVICES.iter().flat_map(|service| service.endpoints).map(|(name, ..)| *name)
}

/// Whether `name` in a case means this endpoint: its own name, or that of its service.
pub fn means(name: &str, endpoint: &str) -> bool {
    endpoint == name || endpoint.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
}

/// Where the endpoints of one arm are.
#[derive(Clone, Debug)]
pub struct Fleet(pub BTreeMap<&'static str, SocketAddr>);

impl Fleet {
    /// Addresses for arms in which nothing is sent.
    pub fn imaginary() -> Self {
        Self((10_001..).zip(endpoints()).map(|(port, name)| (name, SocketAddr::from(([127, 0, 0, 1], port)))).collect())
    }

    /// The text with every `{endpoint}` replaced by its port.
    pub fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, at) in &self.0 {
            text = text.replace(&format!("{{{name}}}"), &at.port().to_string());
        }
        text
    }

    /// The endpoint at an address, or at `localhost`.
    pub fn at(&self, address: &str, port: u16) -> Option<&'static str> {
        let address = if address == "localhost" { "127.0.0.1" } else { address };
        self.0.iter().find(|(_, at)| at.ip().to_string() == address && at.port() == port).map(|(name, _)| *name)
    }

    /// What a user would have in his files: the services, the usual subsets, and the objects of the case.
    pub fn manifests(&self, case: &Case) -> Vec<(&'static str, String)> {
        let services = SERVICES.iter().map(|service| self.service_entry(service)).collect();
        let subsets = if case.objects.contains("DestinationRule") { String::new() } else { usual_subsets() };
        let files = [
            ("services.yaml", documents(services)),
            ("subsets.yaml", subsets),
            ("case.yaml", self.filled(&case.manifests())),
        ];
        files.into_iter().filter(|(_, text)| !text.is_empty()).collect()
    }

    fn service_entry(&self, service: &Service) -> Value {
        let Service { host, ports, endpoints } = service;
        let port_name = |place: usize| format!("http-{}", ports[place]);
        let endpoints = endpoints.iter().map(|(name, version, place)| {
            let mut ports: BTreeMap<_, _> = BTreeMap::new();
            ports.insert(port_name(*place), self.0[name].port());
            json!({ "address": "127.0.0.1", "ports": ports, "labels": { "version": version } })
        });
        // Two endpoints that are two ports of one workload are one endpoint here.
        let endpoints: Vec<Value> = if ports.len() > 1 {
            let all: BTreeMap<_, _> =
                service.endpoints.iter().map(|(name, _, place)| (port_name(*place), self.0[name].port())).collect();
            vec![json!({ "address": "127.0.0.1", "ports": all, "labels": { "version": "v1" } })]
        } else {
            endpoints.collect()
        };
        let ports: Vec<_> = (0..ports.len())
            .map(|place| json!({ "number": ports[place], "name": port_name(place), "protocol": "HTTP" }))
            .collect();
        let spec = json!({ "hosts": [host], "resolution": "STATIC", "ports": ports, "endpoints": endpoints });
        object("ServiceEntry", host, &spec)
    }
}

/// DestinationRules for all services, with a subset for each version.
pub fn usual_subsets() -> String {
    documents(SERVICES.iter().map(destination_rule).collect())
}

fn destination_rule(service: &Service) -> Value {
    let subset = |version: &str| json!({ "name": version, "labels": { "version": version } });
    let mut versions: Vec<_> = service.endpoints.iter().map(|(_, version, _)| *version).collect();
    versions.dedup();
    let subsets: Vec<_> = versions.into_iter().map(subset).collect();
    object("DestinationRule", service.host, &json!({ "host": service.host, "subsets": subsets }))
}

fn object(kind: &str, host: &str, spec: &Value) -> Value {
    let name = host.replace('.', "-");
    json!({ "apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": { "name": name }, "spec": spec })
}

fn documents(objects: Vec<Value>) -> String {
    objects.iter().map(|object| format!("---\n{object}\n")).collect()
}

/// What is left of the behaviours of a case.
#[derive(Clone, Debug, Default)]
pub struct Scripts {
    scripts: BTreeMap<String, Script>,
    received: BTreeMap<&'static str, usize>,
}

impl Scripts {
    /// At the start of a case.
    pub fn new(case: &Case) -> Self {
        Self { scripts: case.behaviour.clone(), received: BTreeMap::new() }
    }

    /// What an endpoint does with the request it receives now.
    pub fn next(&mut self, arrival: &Arrival) -> Behaviour {
        let turn = self.received.entry(arrival.endpoint).or_default();
        let behaviour = match self.scripts.get(arrival.endpoint) {
            None => Behaviour::default(),
            Some(Script::AsAsked) => asked::behaviour(arrival),
            Some(Script::Always(behaviour)) => behaviour.clone(),
            Some(Script::InTurn(list)) => list.get(*turn).cloned().unwrap_or_default(),
        };
        *turn += 1;
        behaviour
    }
}

/// An answer as the endpoint writes it: headers with its name, and the body.
pub fn written(endpoint: &str, answer: &Answer) -> (Vec<(String, Vec<u8>)>, String) {
    let mut headers = vec![(FROM.to_owned(), endpoint.into())];
    headers.extend(answer.headers.iter().map(|(name, value)| (name.clone(), escapes::bytes(value))));
    (headers, answer.body.clone().unwrap_or_else(|| endpoint.to_owned()))
}
