//! The API server of a cluster in which nothing is and nothing happens: every list is empty, every watch stays silent.
//!
//! istiod does not start without one, even where all its objects come from a folder.

use super::server::Server;
use crate::message::Reader;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What istiod asks for: the resource as its path has it, and the kind of its lists.
const LISTS: [(&str, &str); 12] = [
    ("configmaps", "ConfigMapList"),
    // Asked for by metadata only.
    ("customresourcedefinitions", "PartialObjectMetadataList"),
    ("endpointslices", "EndpointSliceList"),
    ("ingressclasses", "IngressClassList"),
    ("ingresses", "IngressList"),
    ("mutatingwebhookconfigurations", "MutatingWebhookConfigurationList"),
    ("namespaces", "NamespaceList"),
    ("nodes", "NodeList"),
    ("pods", "PodList"),
    ("secrets", "SecretList"),
    ("services", "ServiceList"),
    ("validatingwebhookconfigurations", "ValidatingWebhookConfigurationList"),
];

/// The API server; it ends when this is dropped.
pub struct Kubernetes(Server);

impl Kubernetes {
    /// Starts one on a free port.
    ///
    /// # Errors
    ///
    /// There is no port.
    pub fn start() -> std::io::Result<Self> {
        Server::start((Ipv4Addr::LOCALHOST, 0).into(), serve).map(Self)
    }

    /// How a client finds it.
    pub fn kubeconfig(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "empty", "cluster": { "server": format!("http://{}", self.0.address) } }],
            "users": [{ "name": "anyone", "user": {} }],
            "contexts": [{ "name": "empty", "context": { "cluster": "empty", "user": "anyone" } }],
            "current-context": "empty",
        })
    }
}

/// What is answered.
#[derive(Debug, PartialEq)]
enum Answer {
    Page(u16, Value),
    /// The head of a stream of events, and none ever.
    Silence,
}

fn serve(stream: &TcpStream, over: &AtomicBool) {
    let mut reader = Reader::new(stream);
    let mut to = stream;
    while let Ok(Some(message)) = reader.request() {
        let (method, target) = message.start;
        match answer(&method, &target) {
            Answer::Silence => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
                if to.write_all(head.as_bytes()).is_ok() {
                    wait_for_end(stream, over);
                }
                return;
            }
            Answer::Page(status, page) => {
                let page = page.to_string();
                let head = format!("HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\n");
                let text = format!("{head}content-length: {}\r\n\r\n{page}", page.len());
                if to.write_all(text.as_bytes()).is_err() {
                    return;
                }
            }
        }
    }
}

fn answer(method: &str, target: &str) -> Answer {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let refusal = |code: u16, reason: &str| {
        let status =
            json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code });
        Answer::Page(code, status)
    };
    if path == "/version" {
        return Answer::Page(200, json!({ "major": "1", "minor": "34", "gitVersion": "v1.34.0" }));
    }
    let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    // Objects of one namespace: the group and version before it, the resource after it.
    if let Some(place) = parts.iter().position(|part| *part == "namespaces").filter(|place| place + 2 < parts.len()) {
        parts.drain(place..place + 2);
    }
    let (version, resource) = match parts[..] {
        ["api", version, resource] => (version.to_owned(), resource),
        ["apis", group, version, resource] => (format!("{group}/{version}"), resource),
        _ => return refusal(404, "NotFound"),
    };
    let Some((_, kind)) = LISTS.iter().find(|(name, _)| *name == resource) else { return refusal(404, "NotFound") };
    if method != "GET" {
        return refusal(404, "NotFound");
    }
    match query.contains("watch=true") {
        // A client that wants the list as events lists it instead, where the server does not know how.
        true if query.contains("sendInitialEvents=true") => refusal(422, "Invalid"),
        true => Answer::Silence,
        false => {
            let version = if *kind == "PartialObjectMetadataList" { "meta.k8s.io/v1" } else { &version };
            let metadata = json!({ "resourceVersion": "1" });
            Answer::Page(200, json!({ "kind": kind, "apiVersion": version, "metadata": metadata, "items": [] }))
        }
    }
}

/// Keeps the connection open until the other side closes it.
fn wait_for_end(stream: &TcpStream, over: &AtomicBool) {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
    let mut buffer = [0; 1024];
    while !over.load(Ordering::Relaxed) {
        match Read::read(&mut &*stream, &mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_empty_and_watches_silent() {
        let kind = |target: &str| match answer("GET", target) {
            Answer::Page(status, page) => format!("{status} {} {}", page["apiVersion"], page["kind"]),
            Answer::Silence => "silence".to_owned(),
        };
        for (target, expected) in [
            ("/api/v1/namespaces?limit=500", r#"200 "v1" "NamespaceList""#),
            ("/api/v1/namespaces/istio-system/secrets", r#"200 "v1" "SecretList""#),
            ("/apis/discovery.k8s.io/v1/endpointslices", r#"200 "discovery.k8s.io/v1" "EndpointSliceList""#),
            ("/api/v1/pods?watch=true", "silence"),
            ("/api/v1/pods?sendInitialEvents=true&watch=true", r#"422 "v1" "Status""#),
            ("/api/v1/namespaces/a/configmaps/b", r#"404 "v1" "Status""#),
            ("/apis/other/v1/things", r#"404 "v1" "Status""#),
        ] {
            assert_eq!(kind(target), expected, "{target}");
        }
        assert!(matches!(answer("POST", "/api/v1/pods"), Answer::Page(404, _)));
    }
}
