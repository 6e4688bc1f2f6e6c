//! The admin pages, in a thread of their own: they ask the workers by message and never hold a request up.

use crate::control::Workers;
use crate::dns::Served;
use crate::prometheus;
use crate::stats::Snapshot;
use envoy_plan::{Plan, UpstreamProtocol};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const INDEX: &str = "\
GET  /ready             200 while requests are served
GET  /stats/prometheus  counts, for Prometheus
GET  /config_dump       the plan in force, with counts, as JSON
POST /quitquitquit      finish what is under way and stop
";
/// How long workers may take to tell their counts; who does not is left out.
const COUNT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long requests under way may take after `/quitquitquit`.
const GRACE: Duration = Duration::from_secs(30);

struct Admin {
    workers: Workers,
    current: Arc<Mutex<Served>>,
}

/// Serves the pages until the process ends.
pub(crate) fn run(socket: TcpListener, workers: Workers, current: Arc<Mutex<Served>>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let admin = Rc::new(Admin { workers, current });
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let Ok(listener) = tokio::net::TcpListener::from_std(socket) else { return };
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let admin = Rc::clone(&admin);
            tokio::task::spawn_local(async move {
                let service = service_fn(move |request| Rc::clone(&admin).answer(request));
                let mut builder = http1::Builder::new();
                let connection = builder.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
                // A client that goes away concerns nobody.
                let _ = connection.await;
            });
        }
    });
}

impl Admin {
    async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        const TEXT: &str = "text/plain; charset=utf-8";
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        let (status, kind, body) = match request.uri().path() {
            "/quitquitquit" if request.method() == Method::POST => {
                self.workers.drain(GRACE);
                (200, TEXT, "OK\n".to_owned())
            }
            "/quitquitquit" => (405, TEXT, "use POST\n".to_owned()),
            "/" | "/ready" | "/stats/prometheus" | "/config_dump" if !get => (405, TEXT, "use GET\n".to_owned()),
            "/" => (200, TEXT, INDEX.to_owned()),
            "/ready" if self.workers.are_serving() => (200, TEXT, "LIVE\n".to_owned()),
            "/ready" => (503, TEXT, "DRAINING\n".to_owned()),
            "/stats/prometheus" => (200, "text/plain; version=0.0.4", prometheus::print(&self.count().await)),
            "/config_dump" => (200, "application/json", format!("{:#}\n", self.dump().await)),
            _ => (404, TEXT, format!("no such page; there are:\n{INDEX}")),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        Ok(response)
    }

    /// All workers' counts as one.
    async fn count(&self) -> Snapshot {
        let mut counts = self.workers.count();
        let mut sum = Snapshot::default();
        while let Ok(Some(snapshot)) = tokio::time::timeout(COUNT_TIMEOUT, counts.recv()).await {
            sum.merge(snapshot);
        }
        sum
    }

    async fn dump(&self) -> Value {
        let counts = self.count().await;
        let plan = Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner).deployment.plan);
        dump(&plan, &counts)
    }
}

fn dump(plan: &Plan, counts: &Snapshot) -> Value {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let profiles = plan.profiles.iter().map(|profile| {
        let retry = profile.retry.as_ref().map(|retry| {
            json!({
                "retries": retry.retries,
                "on": retry.on.iter().map(|on| on.name()).collect::<Vec<_>>(),
                "statusCodes": retry.status_codes,
                "perTryTimeoutMs": retry.per_try_timeout.map(millis),
                "avoidPreviousHosts": retry.avoid_previous_hosts,
                "backoffMs": [millis(retry.backoff.base), millis(retry.backoff.max)],
            })
        });
        json!({
            "name": profile.name,
            "timeoutMs": profile.timeout.map(millis),
            "retry": retry,
            "mirrors": profile.mirrors,
            "hashKeys": profile.hash_keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    let clusters = plan.clusters.values().map(|cluster| {
        let endpoints = cluster.endpoints.iter().map(|endpoint| {
            let address = format!("{}:{}", endpoint.address, endpoint.port);
            let counted = counts.endpoints.get(&(cluster.name.clone(), address.clone())).copied().unwrap_or_default();
            json!({
                "address": address,
                "weight": endpoint.weight,
                "labels": endpoint.labels,
                "locality": endpoint.locality.to_string(),
                "priority": endpoint.priority,
                "requests": counted.requests,
                "active": counted.active,
            })
        });
        json!({
            "name": cluster.name,
            "loadBalancing": cluster.load_balancing.name(),
            "protocol": match cluster.protocol {
                UpstreamProtocol::Http1 => "HTTP/1.1",
                UpstreamProtocol::Http2 => "HTTP/2",
            },
            "connectTimeoutMs": millis(cluster.connect_timeout),
            "endpoints": endpoints.collect::<Vec<_>>(),
        })
    });
    json!({ "profiles": profiles.collect::<Vec<_>>(), "clusters": clusters.collect::<Vec<_>>() })
}
