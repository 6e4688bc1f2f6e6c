//! istiod: started with a folder of objects, which are validated as in a cluster before they are put there.

use super::Programs;
use super::kubernetes::Kubernetes;
use super::objects;
use crate::message::Reader;
use crate::process::{Process, free_address, is_ok};
use serde_json::{Value, json};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// What istiod does without here: what no object of ours touches, and what stands only in Istio's own Envoy.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("ENABLE_CA_SERVER", "false"),
    ("ENABLE_LEADER_ELECTION", "false"),
    ("INJECT_ENABLED", "false"),
    ("INJECTION_WEBHOOK_CONFIG_NAME", ""),
    ("VALIDATION_WEBHOOK_CONFIG_NAME", ""),
    ("PILOT_ENABLE_GATEWAY_API", "false"),
    // Filters of Istio's proxy, which Envoy as its project builds it does not have.
    ("PILOT_ENABLE_METADATA_EXCHANGE", "false"),
    ("PILOT_ENABLE_ALPN_FILTER", "false"),
];

/// How long an answer of istiod's validation may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A free port may be taken until it is used; then there is another try.
const TRIES: usize = 3;

/// The folder of objects, and the file in it.
const OBJECTS: (&str, &str) = ("objects", "objects.yaml");

/// istiod and its objects.
pub struct Mesh {
    /// Where proxies ask for their configuration, by plain gRPC.
    pub xds: SocketAddr,
    http: SocketAddr,
    istiod: Process,
    folder: TempDir,
    version: AtomicU32,
    // Needed as long as istiod runs, so it stands behind it.
    _kubernetes: Kubernetes,
}

impl Mesh {
    /// Starts istiod with these mesh-wide settings (Istio's `MeshConfig`) and no objects.
    ///
    /// # Errors
    ///
    /// It does not start, with what it said.
    pub fn start(programs: &Programs, settings: &Value) -> Result<Self, String> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::try_start(programs, settings) {
                Err(error) if tries < TRIES && error.contains("in use") => {}
                other => return other,
            }
        }
    }

    fn try_start(programs: &Programs, settings: &Value) -> Result<Self, String> {
        let kubernetes = Kubernetes::start().map_err(|error| error.to_string())?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let at = |name: &str| folder.path().join(name);
        let mut settings = settings.clone();
        settings["ingressControllerMode"] = "OFF".into();
        std::fs::create_dir(at(OBJECTS.0)).map_err(|error| error.to_string())?;
        for (name, value) in [("mesh.json", &settings), ("kubeconfig.json", &kubernetes.kubeconfig())] {
            std::fs::write(at(name), value.to_string()).map_err(|error| error.to_string())?;
        }
        let [xds, http, monitoring] = [free_address(), free_address(), free_address()];
        let mut command = Command::new(&programs.istiod);
        command
            .args(["discovery", "--registries=Kubernetes", "--log_target=stderr", "--shutdownDuration=1s"])
            .args(["--httpsAddr=", "--secureGRPCAddr=", "--ctrlz_port=0", "--networksConfig=none"])
            .args(
                [("grpcAddr", xds), ("httpAddr", http), ("monitoringAddr", monitoring)]
                    .map(|(name, address)| format!("--{name}={address}")),
            )
            .args(
                [("kubeconfig", "kubeconfig.json"), ("configDir", OBJECTS.0), ("meshConfig", "mesh.json")]
                    .map(|(name, file)| format!("--{name}={}", at(file).display())),
            )
            .envs(ENVIRONMENT)
            .env("POD_NAME", "istiod")
            .current_dir(folder.path());
        let mut istiod = Process::spawn(command, at("log"))?;
        istiod.wait_until(|| is_ok(http, "/ready") && TcpStream::connect(xds).is_ok())?;
        Ok(Self { xds, http, istiod, folder, version: AtomicU32::new(0), _kubernetes: kubernetes })
    }

    /// Puts these objects in place of those before, and tells which version they are, for
    /// [`Workload::wait_for`](super::workload::Workload::wait_for). `gateways` are those whose workloads wait.
    ///
    /// # Errors
    ///
    /// Istio's validation refuses one, or the file cannot be written.
    pub fn apply(&self, objects: &[Value], gateways: &[&str]) -> Result<u32, String> {
        objects.iter().try_for_each(|object| self.validate(object))?;
        self.put(objects, gateways)
    }

    /// As [`apply`](Self::apply), unseen by the validation.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn put(&self, objects: &[Value], gateways: &[&str]) -> Result<u32, String> {
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        let marker = objects::marker(version, gateways);
        let text: String = objects.iter().chain([&marker]).map(|object| format!("---\n{object}\n")).collect();
        let write = || {
            // istiod reads files with certain endings, and so never half of one.
            let next = self.folder.path().join("next");
            std::fs::write(&next, text)?;
            std::fs::rename(next, self.folder.path().join(OBJECTS.0).join(OBJECTS.1))
        };
        write().map_err(|error| error.to_string())?;
        Ok(version)
    }

    /// Asks istiod's admission webhook, as the API server of a cluster does.
    ///
    /// # Errors
    ///
    /// It refuses the object, in its own words.
    pub fn validate(&self, object: &Value) -> Result<(), String> {
        let name = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let kind = object["kind"].as_str().unwrap_or_default();
        let (group, version) = object["apiVersion"].as_str().and_then(|it| it.split_once('/')).unwrap_or_default();
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "1",
                "kind": { "group": group, "version": version, "kind": kind },
                "resource": { "group": group, "version": version, "resource": format!("{}s", kind.to_lowercase()) },
                "operation": "CREATE",
                "namespace": name("namespace"),
                "name": name("name"),
                "object": object,
            },
        });
        let answer = post(self.http, "/validate", &review).map_err(|error| format!("validation: {error}"))?;
        let response = &answer["response"];
        match response["allowed"].as_bool() {
            Some(true) => Ok(()),
            Some(false) => {
                Err(format!("{kind} {}: {}", name("name"), response["status"]["message"].as_str().unwrap_or_default()))
            }
            None => Err(format!("{kind} {}: no answer of the validation: {answer}", name("name"))),
        }
    }

    /// What istiod has said.
    pub fn said(&self) -> String {
        self.istiod.said()
    }

    /// A folder for whatever belongs to this mesh.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn post(at: SocketAddr, path: &str, body: &Value) -> std::io::Result<Value> {
    let body = body.to_string();
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: istiod\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let response = Reader::new(stream).response(false)?;
    Ok(serde_json::from_slice(&response.body)?)
}
