//! `shunt sim --trace`: the life of one request.

use crate::deployment::Deployment;
use crate::failure::Failure;
use crate::output::Output;
use crate::say;
use crate::sim::player::Player;
use crate::sim::rehearsal::{Found, Rehearsal};
use host_abi::{AskError, Module};
use std::sync::Arc;
use traffic_explain::{Asker, AskerError, Request};
use traffic_sim::Trace;

pub(crate) fn run(rehearsals: &[Rehearsal], module: Module, request: u64, output: &Output) -> Result<(), Failure> {
    let [rehearsal @ Rehearsal { found, deployment, .. }] = rehearsals else {
        let names: Vec<_> = rehearsals.iter().map(|one| one.found.scenario.metadata.name.as_str()).collect();
        return Err(Failure::Usage(format!(
            "--trace looks at one scenario, and here are {}: name its file by -f",
            names.join(", ")
        )));
    };
    let rules = Rules { module: module.clone(), deployment, found };
    let Some(mut trace) = Player::new(module)?.trace(found, rehearsal.played(), request)? else {
        return Err(Failure::Failed(format!(
            "--trace {request}: the load of {} ends before it",
            found.scenario.metadata.name
        )));
    };
    trace.rule = rules.of(&trace)?;
    output.write(&match output.is_json() {
        true => serde_json::to_string_pretty(&trace).map_err(|error| Failure::Failed(error.to_string()))? + "\n",
        false => trace.to_string(),
    })
}

/// Asks the filter which rule takes a request; one that is not ours does not say it.
struct Rules<'a> {
    module: Module,
    deployment: &'a Deployment,
    found: &'a Found,
}

impl Rules<'_> {
    fn of(&self, trace: &Trace) -> Result<Option<String>, Failure> {
        let surroundings = Arc::new(self.deployment.surroundings());
        let normalization = self.found.scenario.spec.path_normalization.0;
        let configuration = self.deployment.filter_configuration();
        let mut asker = Asker::start(&self.module, &configuration, surroundings.clone(), normalization)
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let mut request = Request::to("GET", "http://none/").map_err(|error| Failure::Failed(error.0))?;
        trace.headers.iter().for_each(|(name, value)| request.add(name, value));
        let answer = match asker.ask(&request, 0) {
            Err(AskerError::Asked(AskError::NoSuchFunction(_))) => {
                say::note("this module does not say which of its rules takes a request");
                return Ok(None);
            }
            answer => answer?,
        };
        let Ok(explanation) = answer.explanation else { return Ok(None) };
        Ok(explanation.rule.as_ref().map(|rule| {
            let name = answer.carried.name.as_deref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
            let place = surroundings.place(rule).map(|place| format!("  ({place})")).unwrap_or_default();
            format!("{rule}{name}{place}")
        }))
    }
}
