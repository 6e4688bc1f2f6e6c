//! Asking the twin again, where chance has a part in what comes of a request.

use super::batch::Served;
use super::observation::Observation;
use crate::asked;
use crate::case::Request;
use crate::chance::SplitMix;
use std::time::{Duration, Instant};

/// How often the twin is asked again before something it has not done counts as something it does not do, in rounds.
const ROUNDS: [usize; 5] = [4, 8, 16, 64, 256];

/// More than so many requests in one round mean that something is wrong with all of them: then the first rounds do.
const ROUND_MAX: usize = 5000;

/// Plain requests after each one that is asked: fewer than so many, and each number as often.
const PLAIN_BELOW: usize = 3;

/// Asks the twin until it does what an arm was seen to do; what of `open` it never does. No request is sent after `asking_max`.
pub(super) fn never_seen(
    twin: &mut Served,
    sent: &[&Request],
    observed: &[Observation],
    mut open: Vec<usize>,
    asking_max: Duration,
) -> Vec<usize> {
    let begun = Instant::now();
    let mut draw = SplitMix::new(0xa5c);
    for times in ROUNDS {
        let has_time = || begun.elapsed() < asking_max;
        if open.is_empty() || open.len() * times > ROUND_MAX || !has_time() {
            break;
        }
        let plain: Vec<Request> = open.iter().map(|number| asked::answered_at_once(sent[*number])).collect();
        let mut again: Vec<(Option<usize>, &Request)> = Vec::new();
        for (number, plain) in open.iter().zip(&plain) {
            for is_asked in order(times, &mut draw) {
                again.push(if is_asked { (Some(*number), sent[*number]) } else { (None, plain) });
            }
        }
        let requests: Vec<&Request> = again.iter().map(|(_, request)| *request).collect();
        let seen = twin.observe_while(&requests, 0, has_time);
        open.retain(|number| {
            !again.iter().zip(&seen).any(|((asked, _), seen)| *asked == Some(*number) && *seen == observed[*number])
        });
    }
    open
}

/// What is sent one after the other: so many times the request that is asked (`true`), and after each by chance none, one or two
/// of the same to endpoints that answer at once. Where endpoints take turns, requests that follow in a fixed order
/// would meet the same ones for ever: with a plain one after every second, an endpoint out of three would be the plain ones' alone.
fn order(times: usize, draw: &mut SplitMix) -> Vec<bool> {
    let mut order = Vec::new();
    for _ in 0..times {
        order.push(true);
        order.extend(std::iter::repeat_n(false, draw.below(PLAIN_BELOW)));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// What a request is asked for may come with something else by chance (a copy, another endpoint's turn), so each turn has to come
    /// often, and not only once.
    #[test]
    fn every_endpoint_has_its_turn_often_whatever_a_request_takes() {
        for (endpoints, attempts) in (2..=5).flat_map(|endpoints| (1..=4).map(move |attempts| (endpoints, attempts))) {
            let mut begun_at = vec![0; endpoints];
            let mut turn = 0;
            for is_asked in order(256, &mut SplitMix::new(1)) {
                if is_asked {
                    begun_at[turn] += 1;
                }
                turn = (turn + if is_asked { attempts } else { 1 }) % endpoints;
            }
            let least = begun_at.iter().min().copied().unwrap_or_default();
            assert!(least > 256 / endpoints / 2, "{endpoints} endpoints, {attempts} attempts: {begun_at:?}");
        }
    }

    #[test]
    fn turns_of_two_services_meet_in_every_way() {
        let (mut met, mut turn) = (BTreeSet::new(), 0);
        for is_asked in order(64, &mut SplitMix::new(1)) {
            if is_asked {
                met.insert((turn % 3, turn % 2));
            }
            turn += 1;
        }
        assert_eq!(met.len(), 6, "{met:?}");
    }
}
