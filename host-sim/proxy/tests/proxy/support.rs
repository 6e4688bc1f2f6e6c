//! What the tests share: upstreams, clients, and a proxy with a plan and rules written down in a few lines.

use bytes::Bytes;
use envoy_plan::{Cluster, Endpoint, LoadBalancing, Plan, Profile, RetryOn, RetryPolicy};
use host_abi::Module;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use traffic_proxy::{Deployment, Handle, Settings};

pub(crate) const HOST: &str = "reviews.test";

/// The filter, compiled once for all tests.
pub(crate) fn module() -> Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| Module::compile(&wasm()).unwrap()).clone()
}

fn wasm() -> Vec<u8> {
    let built = "../../target/wasm32-unknown-unknown/wasm/traffic_filter.wasm";
    let path = match std::env::var_os("SHUNT_MODULE") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(built),
    };
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!("no filter at {}: {error}\nbuild it with `make wasm`, or name it in SHUNT_MODULE", path.display())
    })
}

// Plans and rules.

pub(crate) fn cluster_name(subset: &str) -> String {
    format!("outbound|80|{subset}|{HOST}")
}

pub(crate) fn cluster(subset: &str, addresses: &[SocketAddr]) -> Cluster {
    let endpoints = addresses.iter().map(|address| Endpoint {
        address: address.ip().to_string(),
        port: address.port(),
        weight: 1,
        labels: BTreeMap::from([("version".to_owned(), subset.to_owned())]),
        ..Endpoint::default()
    });
    Cluster {
        name: cluster_name(subset),
        load_balancing: LoadBalancing::RoundRobin,
        connect_timeout: Duration::from_secs(1),
        endpoints: endpoints.collect(),
        ..Cluster::default()
    }
}

pub(crate) fn profile(name: &str) -> Profile {
    Profile { name: name.to_owned(), ..Profile::default() }
}

pub(crate) fn retry(retries: u32, on: &[RetryOn]) -> RetryPolicy {
    RetryPolicy {
        retries,
        on: on.to_vec(),
        status_codes: Vec::new(),
        per_try_timeout: None,
        avoid_previous_hosts: true,
        host_selection_attempts: 5,
        backoff: envoy_plan::Backoff::from_base(Duration::from_millis(1)),
    }
}

pub(crate) fn plan(profiles: Vec<Profile>, clusters: Vec<Cluster>) -> Plan {
    let mut all = vec![profile("default")];
    all.extend(profiles);
    Plan {
        profiles: all,
        clusters: clusters.into_iter().map(|cluster| (cluster.name.clone(), cluster)).collect(),
        ..Plan::default()
    }
}

/// A VirtualService of [`HOST`] with these rules, and profiles for some of them.
pub(crate) fn rules(http: Value, profiles: &[(usize, &str)]) -> Vec<u8> {
    let bindings = profiles
        .iter()
        .map(|(http, profile)| json!({"virtualService": "default/reviews", "http": http, "profiles": [profile]}));
    json!({
        "apiVersion": "shunt.dev/v1alpha1",
        "kind": "FilterConfig",
        "objects": [
            {
                "apiVersion": "networking.istio.io/v1",
                "kind": "ServiceEntry",
                "metadata": {"name": "reviews"},
                "spec": {"hosts": [HOST], "resolution": "STATIC", "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]},
            },
            {
                "apiVersion": "networking.istio.io/v1",
                "kind": "VirtualService",
                "metadata": {"name": "reviews"},
                "spec": {"hosts": [HOST], "http": http},
            },
        ],
        "bindings": bindings.collect::<Vec<_>>(),
    })
    .to_string()
    .into_bytes()
}

/// One destination.
pub(crate) fn to(subset: &str) -> Value {
    json!({"destination": {"host": HOST, "subset": subset, "port": {"number": 80}}})
}

/// All requests to one subset, with this profile.
pub(crate) fn all_to(subset: &str, profile: &str) -> Vec<u8> {
    rules(json!([{"route": [to(subset)]}]), &[(0, profile)])
}

pub(crate) fn deployment(plan: Plan, filter_configuration: Vec<u8>) -> Deployment {
    Deployment { plan: Arc::new(plan), filter_configuration, inbound_configuration: Vec::new() }
}

pub(crate) fn settings() -> Settings {
    Settings { workers: 1, ..Settings::new("127.0.0.1:0".parse().unwrap()) }
}

pub(crate) fn start(plan: Plan, filter_configuration: Vec<u8>) -> Handle {
    start_with(settings(), plan, filter_configuration)
}

pub(crate) fn start_with(settings: Settings, plan: Plan, filter_configuration: Vec<u8>) -> Handle {
    traffic_proxy::serve(settings, module(), deployment(plan, filter_configuration)).unwrap()
}

/// A proxy that sends everything to `subset` v1 with this profile.
pub(crate) fn start_one(profile: Profile, upstreams: &[SocketAddr]) -> Handle {
    let name = profile.name.clone();
    start(plan(vec![profile], vec![cluster("v1", upstreams)]), all_to("v1", &name))
}

// Upstreams.

/// A request as an upstream saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) connection: u64,
}

type Body = BoxBody<Bytes, Infallible>;
type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// An upstream and what it saw.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    open: Arc<()>,
}

impl Upstream {
    /// Answers the n-th request (from 1) as `answer` says, over HTTP/1.1 or HTTP/2 as the client speaks.
    pub(crate) async fn start<F>(answer: impl Fn(usize, Seen) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen, open) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())), Arc::new(()));
        let (log, count) = (Arc::clone(&seen), Arc::clone(&open));
        tokio::spawn(async move {
            for connection in 1.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, count, answer) = (Arc::clone(&log), Arc::clone(&count), answer.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (log, answer) = (Arc::clone(&log), answer.clone());
                        let answered: Pin<Box<dyn Future<Output = Result<_, hyper::Error>> + Send>> =
                            Box::pin(async move {
                                let (parts, body) = request.into_parts();
                                let body = body.collect().await?.to_bytes();
                                let line = format!("{} {} {:?}", parts.method, parts.uri, parts.version);
                                let seen = Seen { line, headers: parts.headers, body, connection };
                                let number = {
                                    let mut log = log.lock().unwrap();
                                    log.push(seen.clone());
                                    log.len()
                                };
                                let answer: Answer = Box::pin(answer(number, seen));
                                Ok(answer.await)
                            });
                        answered
                    });
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                    drop(count);
                });
            }
        });
        Upstream { address, seen, open }
    }

    /// Answers 200 and `text`.
    pub(crate) async fn saying(text: &'static str) -> Self {
        Upstream::start(move |_, _| async move { answer(200, text) }).await
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        // One is held here and one by the listener's task.
        Arc::strong_count(&self.open) - 2
    }
}

pub(crate) fn answer(status: u16, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into()).boxed());
    *response.status_mut() = status.try_into().unwrap();
    response
}

/// A body of these pieces, then trailers if there are any, with a pause before each.
pub(crate) fn pieces(pieces: Vec<&'static str>, trailers: Option<hyper::HeaderMap>, pause: Duration) -> Response<Body> {
    let frames = pieces.into_iter().map(|piece| Frame::data(Bytes::from_static(piece.as_bytes())));
    let frames: Vec<_> = frames.chain(trailers.map(Frame::trailers)).collect();
    let body = Paused { frames: frames.into_iter(), pause, sleep: Box::pin(tokio::time::sleep(pause)) };
    Response::new(body.boxed())
}

struct Paused {
    frames: std::vec::IntoIter<Frame<Bytes>>,
    pause: Duration,
    sleep: Pin<Box<tokio::time::Sleep>>,
}

impl hyper::body::Body for Paused {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::ready!(self.sleep.as_mut().poll(cx));
        let pause = self.pause;
        self.sleep.as_mut().reset(tokio::time::Instant::now() + pause);
        std::task::Poll::Ready(self.frames.next().map(Ok))
    }
}

pub(crate) async fn never() -> Response<Body> {
    std::future::pending().await
}

/// An address on which nobody listens: that of `tcpmux`, which no test is given.
pub(crate) fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

// Clients.

/// An answer as a client saw it.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: String,
    pub(crate) trailers: Option<hyper::HeaderMap>,
}

pub(crate) fn request(method: &str, path: &str) -> hyper::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", HOST)
}

pub(crate) async fn read(response: Response<Incoming>) -> Got {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned();
    let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    Got { status: parts.status.as_u16(), headers: parts.headers, body, trailers }
}

/// An HTTP/1.1 connection to the proxy.
pub(crate) struct Client(hyper::client::conn::http1::SendRequest<Full<Bytes>>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Client(sender)
    }

    pub(crate) async fn try_send(&mut self, request: Request<Full<Bytes>>) -> Result<Got, hyper::Error> {
        self.0.ready().await?;
        Ok(read(self.0.send_request(request).await?).await)
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Got {
        let answer = tokio::time::timeout(Duration::from_secs(10), self.try_send(request)).await;
        answer.expect("no answer for ten seconds").unwrap()
    }

    pub(crate) async fn get(&mut self, path: &str) -> Got {
        self.send(request("GET", path).body(Full::default()).unwrap()).await
    }
}

pub(crate) async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Got {
    Client::connect(address).await.send(request).await
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Got {
    Client::connect(address).await.get(path).await
}

/// Waits until `done`, at most five seconds.
pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain until {what}");
}
