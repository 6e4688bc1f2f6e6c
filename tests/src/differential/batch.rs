//! Many configurations in one arm, and every request of theirs.

use super::configuration::Configuration;
use super::observation::{NUMBER, Observation};
use crate::arms::{Arm, Running};
use crate::case::{Case, Request, Scalar, Script};
use crate::fleet;
use crate::observed::{Arrival, Reply, values};
use crate::servers::Servers;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All of these as one case; endpoints do what they are asked to.
pub fn case(configurations: &[&Configuration]) -> Case {
    let texts: String = configurations.iter().map(|configuration| configuration.text()).collect();
    Case {
        name: "random rules".to_owned(),
        about: String::new(),
        rules: BTreeMap::new(),
        objects: fleet::usual_subsets() + &texts,
        normalization: Default::default(),
        outbound: None,
        locality: String::new(),
        behaviour: fleet::endpoints().map(|name| (name.to_owned(), Script::AsAsked)).collect(),
        requests: Vec::new(),
        refused: Vec::new(),
        skip: BTreeMap::new(),
        differs: BTreeMap::new(),
        since: None,
        file: String::new(),
    }
}

/// An arm that serves a batch.
pub struct Served(Box<dyn Running>);

impl Served {
    /// Makes the arm serve a [`case`] with these endpoints.
    ///
    /// # Errors
    ///
    /// It does not take it, in its own words.
    pub fn start(arm: &dyn Arm, servers: &Arc<Servers>, case: &Case) -> Result<Self, String> {
        arm.start_on(servers, case).map(Self)
    }

    /// Sends the requests one after the other and says what came of each. `expected`: at least so many will arrive in all.
    pub fn observe(&mut self, requests: &[&Request], expected: usize) -> Vec<Observation> {
        self.observe_while(requests, expected, || true)
    }

    /// The same as long as `goes_on`; what would have been sent after that has no observation.
    pub fn observe_while(
        &mut self,
        requests: &[&Request],
        expected: usize,
        goes_on: impl Fn() -> bool,
    ) -> Vec<Observation> {
        let replies: Vec<Result<Reply, String>> = (0..)
            .zip(requests)
            .take_while(|_| goes_on())
            .map(|(number, request)| {
                let mut sent = (*request).clone();
                sent.headers.push(BTreeMap::from([(NUMBER.to_owned(), Scalar(format!("{number}")))]));
                self.0.send(&sent)
            })
            .collect();
        let mut arrived: BTreeMap<usize, Vec<Arrival>> = BTreeMap::new();
        for arrival in self.0.arrivals(expected) {
            let number = values(&arrival.headers, NUMBER).next().and_then(|number| number.parse().ok());
            arrived.entry(number.unwrap_or(usize::MAX)).or_default().push(arrival);
        }
        let none = Vec::new();
        let observed = replies.iter().zip(requests).enumerate();
        observed
            .map(|(number, (reply, request))| Observation::new(request, reply, arrived.get(&number).unwrap_or(&none)))
            .collect()
    }
}
