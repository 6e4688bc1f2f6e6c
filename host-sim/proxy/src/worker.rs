//! One worker: what its requests share, the loop that accepts connections, and the orders it takes meanwhile.

use crate::clock::WorkerClock;
use crate::connection;
use crate::connections::Connections;
use crate::control::Order;
use crate::guest::Guest;
use crate::random::Random;
use crate::settings::{Deployment, Limits, Settings, Side};
use crate::stats::{Snapshot, Stats};
use crate::tls::Contexts;
use crate::world::Said;
use envoy_plan::Plan;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use upstream::{Common, PathNormalization, Upstreams};

/// How often unused connections are looked through.
const SWEEP: Duration = Duration::from_secs(5);
/// How long to wait after the system refused to accept (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the filter's requests and everything that carries them share.
pub(crate) struct Outside {
    pub(crate) clock: WorkerClock,
    pub(crate) random: Random,
    pub(crate) connections: Rc<Connections>,
    pub(crate) upstreams: RefCell<Upstreams>,
    pub(crate) path_normalization: PathNormalization,
    pub(crate) limits: Limits,
    pub(crate) stats: Stats,
    pub(crate) side: Side,
}

impl Outside {
    /// `plan` carries out what is decided on this side; `own` are the addresses that this proxy listens on, `common` and `said` is what all workers count and say together.
    pub(crate) fn new(
        settings: &Settings,
        side: Side,
        plan: Arc<Plan>,
        own: &[SocketAddr],
        common: Common,
        said: Said,
    ) -> Rc<Self> {
        let limits = settings.limits.clone();
        let (idle_timeout, idle_max) = (limits.upstream_idle_timeout, limits.upstream_idle_connections);
        let connections = Connections::new(idle_timeout, idle_max, own, settings.log.clone(), said);
        let clock = WorkerClock::new();
        let upstreams = Upstreams::sharing(plan, common, clock.now());
        Rc::new(Outside {
            clock,
            random: Random::from_system(),
            connections: Rc::new(connections),
            upstreams: RefCell::new(upstreams),
            path_normalization: settings.path_normalization,
            limits,
            stats: Stats::default(),
            side,
        })
    }
}

/// A worker.
pub(crate) struct Worker {
    pub(crate) outside: Rc<Outside>,
    pub(crate) guest: Rc<Guest>,
    /// True when no more requests are to be taken.
    pub(crate) draining: watch::Sender<bool>,
    /// A connection has been closed.
    pub(crate) left: Notify,
}

impl Worker {
    pub(crate) fn new(outside: Rc<Outside>, guest: Rc<Guest>) -> Rc<Self> {
        Rc::new(Worker { outside, guest, draining: watch::Sender::new(false), left: Notify::new() })
    }

    /// Serves until told to stop, or until whoever gives orders is gone.
    pub(crate) async fn run(self: Rc<Self>, listener: TcpListener, mut orders: UnboundedReceiver<Order>) {
        tokio::task::spawn_local(Rc::clone(&self.guest).tick());
        let mut sweep = tokio::time::interval(SWEEP);
        let grace = loop {
            let stats = &self.outside.stats;
            let room = stats.connections.now() < u64::try_from(self.outside.limits.connections).unwrap_or(u64::MAX);
            tokio::select! {
                order = orders.recv() => match order {
                    None => return,
                    Some(Order::Drain(grace)) => break grace,
                    Some(order) => self.obey(order),
                },
                accepted = listener.accept(), if room => match accepted {
                    Ok((stream, peer)) => connection::spawn(Rc::clone(&self), stream, peer),
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
                () = connection::left(&self), if !room => {}
                _ = sweep.tick() => self.outside.connections.sweep(),
            }
        };
        self.drain(listener, orders, grace).await;
    }

    /// Takes no more connections, finishes what is under way, and waits for it at most so long.
    async fn drain(self: &Rc<Self>, listener: TcpListener, mut orders: UnboundedReceiver<Order>, grace: Duration) {
        // Who has connected already is served.
        while let Ok(Ok((stream, peer))) = tokio::time::timeout(Duration::ZERO, listener.accept()).await {
            connection::spawn(Rc::clone(self), stream, peer);
        }
        drop(listener);
        self.draining.send_replace(true);
        let mut until = Instant::now() + grace.min(Duration::from_secs(365 * 86_400));
        while self.outside.stats.connections.now() > 0 {
            tokio::select! {
                order = orders.recv() => match order {
                    None => return,
                    Some(Order::Drain(grace)) => until = until.min(Instant::now() + grace),
                    Some(order) => self.obey(order),
                },
                () = connection::left(self) => {}
                () = tokio::time::sleep_until(until) => return,
            }
        }
    }

    fn obey(&self, order: Order) {
        match order {
            Order::Deploy(deployment, tls, reply) => reply(self.deploy(&deployment, tls)),
            Order::Resolve(plan) => self.serve(plan),
            Order::Count(reply) => reply(self.count()),
            // Draining already.
            Order::Drain(_) => {}
        }
    }

    /// Rules and plan change in one go: no request sees one without the other.
    fn deploy(&self, deployment: &Deployment, tls: Contexts) -> Result<(), String> {
        self.guest.configure(deployment.configuration(self.outside.side)).map_err(|error| error.to_string())?;
        self.outside.connections.trust(tls);
        self.serve(deployment.plan.clone());
        Ok(())
    }

    /// The application is where it was.
    fn serve(&self, plan: Arc<Plan>) {
        if self.outside.side == Side::Inbound {
            return;
        }
        self.outside.upstreams.borrow_mut().replace_plan(plan, self.outside.clock.now());
    }

    fn count(&self) -> Snapshot {
        let mut snapshot = self.outside.stats.snapshot();
        let outside = &self.outside;
        snapshot.counters.insert("shunt_upstream_connections_total", outside.connections.opened());
        snapshot
            .counters
            .insert("shunt_shadow_requests_unsendable_total", outside.upstreams.borrow().dropped_shadows());
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        snapshot.gauges.insert("shunt_upstream_connections_idle", number(outside.connections.idle()));
        snapshot.gauges.insert("shunt_filter_streams_open", number(self.guest.open_streams()));
        for (name, metric) in self.guest.metrics() {
            snapshot.add_metric(name, metric);
        }
        snapshot
    }
}
