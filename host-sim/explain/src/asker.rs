//! One instance of the compiled filter that is asked instead of being sent requests.

use crate::carried::{self, Carried, Surroundings};
use crate::{Refused, Request};
use envoy_plan::PathNormalization;
use host_abi::{
    AskError, Callout, CalloutError, Callouts, Clock, Entropy, Log, LogLevel, MetricError, MetricKind, MetricStore,
    Metrics, Module, PluginConfig, Properties, StartError, StreamId, Vm,
};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use traffic_policy::explain::{Explanation, RuleName, Tried};

/// The filter's export that explains.
const EXPORT: &str = "shunt_explain";

/// Asks one instance of the filter. It belongs to one thread at a time; any number may share their [`Surroundings`].
pub struct Asker {
    vm: Vm<Nowhere>,
    surroundings: Arc<Surroundings>,
    normalization: PathNormalization,
    /// By match block, first cluster and, where no rule takes it, host: on nothing else of the request it depends what
    /// carries a decision out.
    carried: BTreeMap<(String, String, String), (Carried, String)>,
}

/// Hosts are anybody's to name, so that many are remembered and then forgotten.
const CARRIED: usize = 10_000;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskerError {
    /// The module cannot be asked, or crashed.
    #[error(transparent)]
    Asked(#[from] AskError),
    /// It answered something else than an explanation: another version of the filter.
    #[error("the module's answer is no explanation ({0}): use the filter of this version of shunt")]
    Answer(#[from] serde_json::Error),
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The request as the rules see it: its path normalised, without what a client may not say.
    pub request: Request,
    /// What the filter says, every probability that of the request from its beginning: what an abort answers goes nowhere.
    /// `Err` for a request that no filter sees.
    pub explanation: Result<Explanation<'static>, Refused>,
    /// What carries it out; empty where nothing is forwarded.
    pub carried: Carried,
}

/// The filter's words, with what it does not know of a match block that was tried in vain.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    explanation: &'a Explanation<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tried: Vec<ToldTry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToldTry<'a> {
    #[serde(flatten)]
    tried: &'a Tried<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<&'a Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ignores_case: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

/// The request as it stands in an answer.
#[derive(Serialize)]
struct Asked<'a> {
    method: &'a str,
    authority: &'a str,
    path: &'a str,
}

impl Asker {
    /// Starts the filter with this configuration; `surroundings` belong to it.
    ///
    /// # Errors
    ///
    /// The filter refuses the configuration, or does not start.
    pub fn start(
        module: &Module,
        configuration: &[u8],
        surroundings: Arc<Surroundings>,
        normalization: PathNormalization,
    ) -> Result<Self, Box<StartError>> {
        let config =
            PluginConfig { name: "shunt".into(), configuration: configuration.to_vec(), ..PluginConfig::default() };
        let vm = Vm::start(module, Nowhere::default(), config)?;
        Ok(Self { vm, surroundings, normalization, carried: BTreeMap::new() })
    }

    /// What becomes of a request, and why. At most `tried` of the match blocks before the one that decides are told.
    ///
    /// # Errors
    ///
    /// The module cannot be asked.
    pub fn ask(&mut self, request: &Request, tried: u32) -> Result<Answer, AskerError> {
        let request = match request.admitted(self.normalization) {
            Ok(request) => request,
            Err(refused) => {
                return Ok(Answer { request: request.clone(), explanation: Err(refused), carried: Carried::default() });
            }
        };
        let said = self.vm.ask_guest(EXPORT, &question(&request, tried))?;
        let explanation = scaled(serde_json::from_slice(&said)?);
        let carried = self.carried(&explanation, &request.authority)?.0.clone();
        Ok(Answer { request, explanation: Ok(explanation), carried })
    }

    /// The same as one JSON object, without a line break.
    ///
    /// # Errors
    ///
    /// The module cannot be asked.
    pub fn ask_json(&mut self, request: &Request, tried: u32) -> Result<String, AskerError> {
        let admitted = request.admitted(self.normalization);
        let Request { method, authority, target, .. } = admitted.as_ref().unwrap_or(request);
        let mut out = String::from("{\"request\":");
        out += &serde_json::to_string(&Asked { method, authority, path: target })?;
        out.push(',');
        let request = match admitted {
            Ok(request) => request,
            Err(Refused { status, why }) => {
                let why = serde_json::to_string(&why)?;
                return Ok(format!("{out}\"action\":\"refused\",\"reply\":{{\"status\":{status}}},\"why\":{why}}}"));
            }
        };
        let said = self.vm.ask_guest(EXPORT, &question(&request, tried))?;
        let explanation: Explanation<'static> = serde_json::from_slice(&said)?;
        // Mostly the filter's own words, from behind the opening brace to before the closing one.
        let text = match explanation.tried.is_empty() && explanation.abort.is_none() {
            true => String::from_utf8_lossy(&said).into_owned(),
            false => self.told(scaled(explanation.clone()))?,
        };
        let (_, carried) = self.carried(&explanation, &request.authority)?;
        out += text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default();
        if !carried.is_empty() {
            out.push(',');
            out += carried;
        }
        Ok(out + "}")
    }

    fn told(&self, mut explanation: Explanation<'_>) -> Result<String, AskerError> {
        let tried = std::mem::take(&mut explanation.tried);
        let tried = tried.iter().map(|tried| {
            let written = self.surroundings.written(&tried.rule, &tried.condition);
            ToldTry {
                tried,
                wanted: written.map(|(wanted, _)| wanted),
                ignores_case: written.is_some_and(|(_, ignores_case)| ignores_case),
                place: self.surroundings.place(&tried.rule),
            }
        });
        Ok(serde_json::to_string(&Told { explanation: &explanation, tried: tried.collect() })?)
    }

    fn carried(&mut self, explanation: &Explanation<'_>, authority: &str) -> Result<&(Carried, String), AskerError> {
        let cluster = explanation.destinations.first().map(|destination| destination.cluster.to_string());
        let rule = explanation.rule.as_ref().map(RuleName::to_string);
        let host = if carried::depends_on_host(explanation) { authority } else { "" };
        let key = (rule.unwrap_or_default(), cluster.unwrap_or_default(), host.to_owned());
        if !self.carried.contains_key(&key) {
            if self.carried.len() >= CARRIED {
                self.carried.clear();
            }
            let carried = self.surroundings.carried(explanation, authority);
            let text = serde_json::to_string(&carried)?;
            let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default().to_owned();
            self.carried.insert(key.clone(), (carried, inside));
        }
        Ok(self.carried.entry(key).or_default())
    }
}

/// Destinations and mirrors get what an abort leaves.
fn scaled(mut explanation: Explanation<'static>) -> Explanation<'static> {
    let rest = explanation.let_through();
    explanation.destinations.iter_mut().for_each(|destination| destination.probability *= rest);
    explanation.mirrors.iter_mut().for_each(|mirror| *mirror *= rest);
    explanation
}

/// How many vain tries to tell, then the head in the host's encoding of a header map.
fn question(request: &Request, tried: u32) -> Vec<u8> {
    let pairs = || request.pairs();
    let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut question = tried.to_le_bytes().to_vec();
    question.extend(size(pairs().count()));
    for (name, value) in pairs() {
        question.extend(size(name.len()));
        question.extend(size(value.len()));
    }
    for text in pairs().flat_map(|(name, value)| [name, value]) {
        question.extend_from_slice(text.as_bytes());
        question.push(0);
    }
    question
}

/// A world in which nothing happens: a question needs none.
#[derive(Default)]
struct Nowhere {
    metrics: MetricStore,
}

impl Clock for Nowhere {
    fn realtime_ns(&self) -> u64 {
        0
    }
    fn monotonic_ns(&self) -> u64 {
        0
    }
}

impl Entropy for Nowhere {
    /// Nothing is drawn for an explanation.
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

impl Log for Nowhere {
    /// What the filter says of its configuration was said when the files were read.
    fn log(&mut self, _: LogLevel, _: &str) {}
}

impl Metrics for Nowhere {
    fn define(&mut self, kind: MetricKind, name: &str) -> u32 {
        self.metrics.define(kind, name)
    }
    fn increment(&mut self, id: u32, offset: i64) -> Result<(), MetricError> {
        self.metrics.increment(id, offset)
    }
    fn record(&mut self, id: u32, value: u64) -> Result<(), MetricError> {
        self.metrics.record(id, value)
    }
    fn get(&self, id: u32) -> Result<u64, MetricError> {
        self.metrics.get(id)
    }
}

impl Properties for Nowhere {
    fn property(&self, _: Option<StreamId>, _: &[&[u8]]) -> Option<Vec<u8>> {
        None
    }
}

impl Callouts for Nowhere {
    fn dispatch(&mut self, _: u32, _: Callout<'_>) -> Result<(), CalloutError> {
        Err(CalloutError::UnknownCluster)
    }
}
