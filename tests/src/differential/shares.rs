//! Weights and percentages: random ones, and in every arm a chi-square test of what was chosen how often.

use super::batch::case;
use super::configuration::Configuration;
use crate::arms::Arm;
use crate::case::Request;
use crate::chance::{self, SplitMix};
use serde_json::json;
use std::collections::BTreeMap;

/// Requests for each rule.
const REQUESTS: usize = 400;

const ENDPOINTS: [(&str, &str, &str); 4] = [
    ("reviews", "v1", "reviews-v1"),
    ("reviews", "v2", "reviews-v2"),
    ("reviews", "v3", "reviews-v3"),
    ("ratings", "v1", "ratings-v1"),
];

/// Draws so many rules from `seed`, sends requests through the arm, and says of each rule that is not met as often as it should
/// what was seen instead. Each test fails once in a million runs.
///
/// # Panics
///
/// The arm does not serve them.
pub fn misfits(arm: &dyn Arm, rules: u64, seed: u64) -> Vec<String> {
    let mut draw = SplitMix::new(seed);
    let drawn: Vec<(Vec<u32>, u32)> = (0..rules)
        .map(|_| {
            let mut weights: Vec<u32> =
                (0..2 + draw.below(3)).map(|_| u32::try_from(draw.below(100)).unwrap_or(0)).collect();
            weights[0] += 1;
            (weights, u32::try_from(5 + draw.below(90)).unwrap_or(5))
        })
        .collect();
    let objects = drawn.iter().enumerate().map(|(number, (weights, percent))| {
        let route: Vec<_> = weights
            .iter()
            .zip(ENDPOINTS)
            .map(|(weight, (host, subset, _))| json!({ "destination": { "host": host, "subset": subset }, "weight": weight }))
            .collect();
        let mirrors = json!([{ "destination": { "host": "ratings", "subset": "v2" }, "percentage": { "value": percent } }]);
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": { "name": format!("shares{number}"), "namespace": "default" },
            "spec": { "hosts": [format!("{number}.test")], "http": [{ "route": route, "mirrors": mirrors }] },
        })
    });
    let all = Configuration { number: 0, objects: objects.collect(), requests: Vec::new() };
    let mut running = arm.start(&case(&[&all])).unwrap_or_else(|error| panic!("{}: {error}", arm.name()));
    let mut found = Vec::new();
    for (number, (weights, percent)) in drawn.iter().enumerate() {
        let request = Request::get(&format!("{number}.test"), "/", &[]);
        let mut chosen: BTreeMap<String, u64> = BTreeMap::new();
        for _ in 0..REQUESTS {
            let reply = running.send(&request).unwrap_or_else(|error| panic!("{}: {error}", arm.name()));
            *chosen.entry(reply.from().unwrap_or("nobody").to_owned()).or_default() += 1;
        }
        let counts: Vec<u64> =
            ENDPOINTS.iter().map(|(.., endpoint)| chosen.get(*endpoint).copied().unwrap_or(0)).collect();
        let mut shares: Vec<f64> = weights.iter().map(|weight| f64::from(*weight)).collect();
        shares.resize(ENDPOINTS.len(), 0.0);
        if let Some(misfit) = chance::misfit(&counts, &shares) {
            found.push(format!("{}: weights {weights:?}, chosen {chosen:?}: {misfit}", arm.name()));
        }
        let copies =
            running.arrivals(REQUESTS).iter().filter(|arrival| arrival.endpoint == "ratings-v2").count() as u64;
        let percent = f64::from(*percent);
        if let Some(misfit) = chance::misfit(&[copies, REQUESTS as u64 - copies], &[percent, 100.0 - percent]) {
            found.push(format!("{}: {percent} % mirrored, {copies} of {REQUESTS} copies: {misfit}", arm.name()));
        }
    }
    found
}
