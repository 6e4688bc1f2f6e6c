//! Starting the proxy, replacing what it serves, and stopping it.

use crate::admin;
use crate::control::{Order, Workers};
use crate::dns::{self, Served};
use crate::guest::Guest;
use crate::listener;
use crate::settings::{Deployment, Settings, Side};
use crate::tls::Contexts;
use crate::worker::{Outside, Worker};
use crate::world::{Said, World};
use envoy_plan::Plan;
use host_abi::{Gauges, MetricStore, Module, PluginConfig, SharedStore, Vm};
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use upstream::Common;

/// How long a worker may take to answer an order; it is only ever busy for milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Why the proxy did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on: it is taken, not ours, or not allowed.
    #[error("cannot listen on {address}: {}", reason(error))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The filter does not start, or refuses its configuration.
    #[error("{0}")]
    Filter(String),
    /// Certificates or keys that endpoints are spoken to with cannot be read or used.
    #[error("{}", .0.join("\n"))]
    Tls(Vec<String>),
    /// The system gives no thread or runtime.
    #[error("cannot start a worker: {0}")]
    Worker(String),
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use by another program".to_owned(),
        _ => error.to_string(),
    }
}

/// A new deployment was not taken. What was served before is served still.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the new configuration is refused: {}", reasons.join("\n"))]
pub struct Refused {
    /// The filter's words, or which files cannot be used.
    pub reasons: Vec<String>,
}

/// Threads that are still running.
#[derive(Default)]
struct Running {
    count: Mutex<usize>,
    changed: Condvar,
}

/// Counts a thread out, however it ends.
struct Leaving(Arc<Running>);

impl Drop for Leaving {
    fn drop(&mut self) {
        *lock(&self.0.count) -= 1;
        self.0.changed.notify_all();
    }
}

/// A poisoned lock only says that another thread died; what it guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running proxy. Dropped, it stops at once.
pub struct Handle {
    local_addr: SocketAddr,
    inbound_addr: Option<SocketAddr>,
    admin_addr: Option<SocketAddr>,
    workers: Workers,
    running: Arc<Running>,
    canary: Canary,
    /// What is served; locked while a deployment is under way.
    current: Arc<Mutex<Served>>,
    /// Dropped, it ends the thread that looks up names.
    _looking_up: mpsc::Sender<()>,
}

/// Tries configurations where they do no harm.
struct Canary {
    settings: Settings,
    module: Module,
    said: Said,
}

/// Binds the addresses, looks up the names of endpoints, starts the workers and serves `first`.
///
/// # Errors
///
/// [`StartError`] when an address cannot be bound, a file for TLS cannot be used, the filter refuses its configuration, or the
/// system gives no threads.
/// Nothing runs then.
pub fn serve(settings: Settings, module: Module, first: Deployment) -> Result<Handle, StartError> {
    let listen = |address, count| listener::bind(address, count).map_err(|error| StartError::Listen { address, error });
    let sockets = listen(settings.listen, settings.workers.max(1))?;
    let admin = settings.admin.map(|address| listen(address, 1)).transpose()?.and_then(|mut sockets| sockets.pop());
    let address = |socket: &TcpListener| {
        socket.local_addr().map_err(|error| StartError::Listen { address: settings.listen, error })
    };
    let local_addr = sockets.first().map_or(Ok(settings.listen), address)?;
    let inbound = settings.application.map(|application| listen(application.listen, settings.workers.max(1)));
    let inbound = inbound.transpose()?.unwrap_or_default();
    let inbound_addr = inbound.first().map(address).transpose()?;
    let admin_addr = admin.as_ref().map(address).transpose()?;

    let own: Arc<[SocketAddr]> = [Some(local_addr), inbound_addr, admin_addr].into_iter().flatten().collect();
    let tls = Contexts::read(&first.plan).map_err(StartError::Tls)?;
    let first = Served::new(first, tls, None, &settings.log);

    let running = Arc::new(Running::default());
    let (shared, gauges) = (SharedStore::new(), Gauges::default());
    let said = Said::default();
    let mut workers = Workers::default();
    let mut started = Vec::new();
    let sides = [(Side::Outbound, "worker", sockets), (Side::Inbound, "inbound", inbound)];
    let sockets = sides.into_iter().flat_map(|(side, name, sockets)| {
        let common = Common::default();
        let named = sockets.into_iter().enumerate();
        named.map(move |(number, socket)| (side, common.clone(), format!("shunt-{name}-{number}"), socket))
    });
    for (side, common, name, socket) in sockets {
        let (orders, taken) = unbounded_channel();
        let (tell, told) = mpsc::channel();
        let seed = Seed {
            side,
            settings: settings.clone(),
            module: module.clone(),
            shared: shared.clone(),
            gauges: gauges.clone(),
            common,
            said: said.clone(),
            deployment: first.deployment.clone(),
            tls: first.tls.clone(),
            own: Arc::clone(&own),
        };
        spawn(&running, name, move || seed.run(socket, taken, tell))?;
        workers.orders.push(orders);
        started.push(told);
    }
    for told in started {
        match told.recv() {
            Ok(result) => result?,
            Err(_) => return Err(StartError::Worker("it ended at once".to_owned())),
        }
    }
    let current = Arc::new(Mutex::new(first));
    if let Some(socket) = admin {
        let (workers, current) = (workers.clone(), Arc::clone(&current));
        // It ends with the process or with the last worker; nobody waits for it.
        thread::Builder::new()
            .name("shunt-admin".to_owned())
            .spawn(move || admin::run(socket, workers, current))
            .map_err(|error| StartError::Worker(error.to_string()))?;
    }
    let (looking_up, stop) = mpsc::channel();
    let (names, told, log) = (Arc::clone(&current), workers.clone(), settings.log.clone());
    thread::Builder::new()
        .name("shunt-dns".to_owned())
        .spawn(move || dns::run(&names, &told, &stop, &log))
        .map_err(|error| StartError::Worker(error.to_string()))?;
    let canary = Canary { settings, module, said };
    Ok(Handle { local_addr, inbound_addr, admin_addr, workers, running, canary, current, _looking_up: looking_up })
}

fn spawn(running: &Arc<Running>, name: String, work: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
    *lock(&running.count) += 1;
    let leaving = Leaving(Arc::clone(running));
    let spawned = thread::Builder::new().name(name).spawn(move || {
        work();
        drop(leaving);
    });
    spawned.map(drop).map_err(|error| StartError::Worker(error.to_string()))
}

/// What a worker grows from, in its own thread.
struct Seed {
    side: Side,
    settings: Settings,
    module: Module,
    shared: SharedStore,
    gauges: Gauges,
    common: Common,
    said: Said,
    deployment: Deployment,
    tls: Contexts,
    /// Where the proxy listens.
    own: Arc<[SocketAddr]>,
}

impl Seed {
    fn run(self, socket: TcpListener, orders: UnboundedReceiver<Order>, tell: mpsc::Sender<Result<(), StartError>>) {
        let failed = |error: io::Error| StartError::Worker(error.to_string());
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(tell.send(Err(failed(error)))),
        };
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async move {
            let started = tokio::net::TcpListener::from_std(socket).map_err(failed);
            match started.and_then(|listener| Ok((listener, self.worker()?))) {
                Ok((listener, worker)) => {
                    // Whoever started it waits for this; a failed send means it is gone, and so are its orders.
                    let _ = tell.send(Ok(()));
                    worker.run(listener, orders).await;
                }
                Err(error) => drop(tell.send(Err(error))),
            }
        });
        // A look-up may be under way that nobody waits for any more.
        drop(local);
        runtime.shutdown_background();
    }

    fn worker(self) -> Result<std::rc::Rc<Worker>, StartError> {
        let plan = plan(&self.settings, &self.deployment, self.side);
        let outside = Outside::new(&self.settings, self.side, plan, &self.own, self.common, self.said.clone());
        outside.connections.trust(self.tls);
        let world = world(&outside, &self.settings, self.gauges, self.said);
        let config = plugin(self.deployment.configuration(self.side).to_vec(), self.side, self.shared);
        let mut vm = Vm::start(&self.module, world, config).map_err(|error| StartError::Filter(error.to_string()))?;
        vm.host_mut().configuring = false;
        let guest = Guest::new(vm, std::rc::Rc::clone(&outside));
        // What it did while it started is seen to.
        guest.with(|_| ());
        Ok(Worker::new(outside, guest))
    }
}

fn world(outside: &std::rc::Rc<Outside>, settings: &Settings, gauges: Gauges, said: Said) -> World {
    World {
        outside: std::rc::Rc::clone(outside),
        metrics: MetricStore::sharing(gauges),
        lines: HashMap::new(),
        calls: Vec::new(),
        configuring: true,
        said,
        log: settings.log.clone(),
        level: settings.log_level,
    }
}

/// What carries out the filter's decisions on this side.
fn plan(settings: &Settings, deployment: &Deployment, side: Side) -> Arc<Plan> {
    match (side, &settings.application) {
        (Side::Inbound, Some(application)) => Arc::new(application.plan()),
        _ => Arc::clone(&deployment.plan),
    }
}

fn plugin(configuration: Vec<u8>, side: Side, shared: SharedStore) -> PluginConfig {
    let name = match side {
        Side::Outbound => "shunt",
        Side::Inbound => "shunt-inbound",
    };
    PluginConfig {
        name: name.to_owned(),
        root_id: name.to_owned(),
        configuration,
        failure_policy: host_abi::FailurePolicy::RELOAD,
        shared,
        ..PluginConfig::default()
    }
}

impl Canary {
    /// Starts the filter with this configuration in an instance of its own, which says nothing and is dropped.
    fn accepts(&self, deployment: &Deployment) -> Result<(), Refused> {
        let inbound = self.settings.application.map(|_| Side::Inbound);
        [Side::Outbound].into_iter().chain(inbound).try_for_each(|side| self.accepts_on(side, deployment))
    }

    fn accepts_on(&self, side: Side, deployment: &Deployment) -> Result<(), Refused> {
        let settings = Settings { log: Arc::new(|_, _| {}), ..self.settings.clone() };
        let plan = plan(&settings, deployment, side);
        let outside = Outside::new(&settings, side, plan, &[], Common::default(), Said::default());
        let world = world(&outside, &settings, Gauges::default(), Said::default());
        let config = plugin(deployment.configuration(side).to_vec(), side, SharedStore::new());
        match Vm::start(&self.module, world, config) {
            Ok(_) => Ok(()),
            Err(host_abi::StartError::Refused { log }) if !log.is_empty() => Err(Refused { reasons: log }),
            Err(error) => Err(Refused { reasons: vec![error.to_string()] }),
        }
    }
}

impl Handle {
    /// Where requests are taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where requests for the application are taken, if there is an inbound side.
    pub fn inbound_addr(&self) -> Option<SocketAddr> {
        self.inbound_addr
    }

    /// Where the admin pages are.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Serves `next` from now on, without dropping a request: those under way finish by the rules they began with.
    /// Returns when every worker has taken it. Blocks for as long as the filter takes to read its configuration, and some
    /// seconds at most for names of endpoints that were not known before.
    ///
    /// # Errors
    ///
    /// [`Refused`] if a file for TLS cannot be used, or the filter does not accept it, with the filter's reasons. It is tried in an instance of its own
    /// first, so nothing has changed then; should a worker refuse all the same, the others return to what they had.
    pub fn deploy(&self, next: Deployment) -> Result<(), Refused> {
        let tls = Contexts::read(&next.plan).map_err(|reasons| Refused { reasons })?;
        let next = Served::new(next, tls, Some(&self.current), &self.canary.settings.log);
        let mut current = lock(&self.current);
        self.canary.accepts(&next.deployment)?;
        self.canary.said.forget();
        let outcome = self.tell_workers(&next);
        if outcome.is_err() {
            // Accepted once, it will be accepted again; what a worker says to this changes nothing.
            let _ = self.tell_workers(&current);
            return outcome;
        }
        *current = next;
        Ok(())
    }

    /// Deploys everywhere and waits for all answers.
    fn tell_workers(&self, served: &Served) -> Result<(), Refused> {
        let (answer, answers) = mpsc::channel();
        for worker in &self.workers.orders {
            let answer = answer.clone();
            let reply = Box::new(move |result| drop(answer.send(result)));
            // A worker that has stopped drops the order, and its answer with it.
            let _ = worker.send(Order::Deploy(served.deployment.clone(), served.tls.clone(), reply));
        }
        drop(answer);
        let mut reasons = Vec::new();
        for _ in &self.workers.orders {
            match answers.recv_timeout(ANSWER_TIMEOUT) {
                Ok(Ok(())) => {}
                Ok(Err(reason)) if reasons.contains(&reason) => {}
                Ok(Err(reason)) => reasons.push(reason),
                Err(RecvTimeoutError::Disconnected) => {
                    reasons.push("a worker has stopped".to_owned());
                    break;
                }
                Err(RecvTimeoutError::Timeout) => reasons.push("a worker does not answer".to_owned()),
            }
        }
        if reasons.is_empty() { Ok(()) } else { Err(Refused { reasons }) }
    }

    /// Takes no more requests, finishes those under way within `grace`, and returns when all workers have stopped.
    pub fn shutdown(self, grace: Duration) {
        self.workers.drain(grace);
        self.wait_until(Some(Instant::now() + grace + Duration::from_secs(5)));
    }

    /// Returns when all workers have stopped: after `POST /quitquitquit`, or [`Handle::drain`] from another thread.
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// Begins what [`Handle::shutdown`] does and returns at once.
    pub fn drain(&self, grace: Duration) {
        self.workers.drain(grace);
    }

    fn wait_until(&self, until: Option<Instant>) {
        let mut count = lock(&self.running.count);
        while *count > 0 {
            count = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return,
                Some(left) => {
                    let waited = self.running.changed.wait_timeout(count, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.running.changed.wait(count).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.workers.drain(Duration::ZERO);
    }
}
