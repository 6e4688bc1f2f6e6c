//! The compiled filter in the simulator.

use super::engine::deployment;
use super::{Arm, Running, arrival, plain, received};
use crate::case::{self, Case, Request};
use crate::escapes;
use crate::fleet::{self, DOWN, Fleet, Scripts};
use crate::observed::{Arrival, Reply};
use crate::process;
use crate::servers::Servers;
use host_abi::Module;
use std::sync::Arc;
use std::time::Duration;
use traffic_sim::{Answer, Behaviour, Ended, RequestSpec, Role, Simulator};

/// The arm: it compiles the filter once.
pub struct InSimulator(Module);

impl InSimulator {
    /// Compiles the filter.
    ///
    /// # Errors
    ///
    /// It is not built, or is no filter.
    pub fn new() -> Result<Self, String> {
        let path = process::module();
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}: run `make wasm`", path.display()))?;
        Module::compile(&bytes).map(Self).map_err(|error| error.to_string())
    }

    fn at(&self, fleet: Fleet, case: &Case) -> Result<Box<dyn Running>, String> {
        let (plan, filter) = deployment(&fleet, case)?;
        let configuration = filter.to_json().to_string();
        let mut simulator =
            Simulator::new(&self.0, configuration.as_bytes(), plan, 0x5eed).map_err(|error| error.to_string())?;
        simulator.set_path_normalization(case.normalization.0);
        Ok(Box::new(Simulated { simulator, fleet, scripts: Scripts::new(case), arrivals: Vec::new() }))
    }
}

impl Arm for InSimulator {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn parallel(&self) -> usize {
        1
    }

    fn slack(&self) -> Duration {
        Duration::ZERO
    }

    fn start(&self, case: &Case) -> Result<Box<dyn Running>, String> {
        self.at(Fleet::imaginary(), case)
    }

    fn start_on(&self, servers: &Arc<Servers>, case: &Case) -> Result<Box<dyn Running>, String> {
        self.at(servers.fleet.clone(), case)
    }
}

struct Simulated {
    simulator: Simulator,
    fleet: Fleet,
    scripts: Scripts,
    arrivals: Vec<Arrival>,
}

impl Running for Simulated {
    fn send(&mut self, request: &Request) -> Result<Reply, String> {
        let Self { simulator, fleet, scripts, arrivals } = self;
        let line = &request.send;
        let body = request.body.clone().unwrap_or_default();
        let spec = RequestSpec::new(&line.method, &line.host, escapes::bytes(&line.target), received(request), body);
        let spec = if request.http2 { spec.over_http2() } else { spec };
        let exchange = simulator.request(&spec, |sent| {
            let Some(endpoint) = fleet.at(sent.endpoint.address(), sent.endpoint.port()) else {
                return Behaviour::unresolved();
            };
            if endpoint == DOWN {
                return Behaviour::refused();
            }
            let arrival = arrival(endpoint, sent.headers, sent.body);
            let behaviour = behaviour(endpoint, scripts.next(&arrival));
            if sent.role != Role::Callout {
                arrivals.push(arrival);
            }
            behaviour
        });
        if !exchange.violations.is_empty() {
            return Err(exchange.violations.join("; "));
        }
        let response = exchange.response;
        match (response.ended, response.status) {
            (Ended::Answered, Some(status)) => Ok(Reply {
                status,
                headers: plain(&response.headers),
                body: response.body.to_vec(),
                took: response.took,
            }),
            (ended, _) => Err(format!("no response: {ended:?} ({})", response.details)),
        }
    }

    fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    fn arrivals(&mut self, _expected: usize) -> Vec<Arrival> {
        std::mem::take(&mut self.arrivals)
    }

    fn log(&self) -> String {
        self.simulator.log().iter().map(|(level, line, count)| format!("{level:?} {line} ({count})\n")).collect()
    }
}

fn behaviour(endpoint: &str, behaviour: case::Behaviour) -> Behaviour {
    match behaviour {
        case::Behaviour::Hang => Behaviour::never_answers(),
        case::Behaviour::Close => Behaviour::connection_closed(),
        case::Behaviour::Answer(answer) => {
            let (headers, body) = fleet::written(endpoint, &answer);
            Behaviour::of(Answer::new(answer.status, headers, body)).after(answer.after)
        }
    }
}
