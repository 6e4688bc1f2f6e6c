//! Takes away from a configuration whatever a difference does not need.

use super::asking::never_seen;
use super::batch::Served;
use super::configuration::Configuration;
use super::{ASKING_ALONE_MAX, Mismatch};
use crate::arms::{Arm, Engine};
use crate::case::Request;
use crate::servers::Servers;
use serde_json::Value;
use std::sync::Arc;

/// How often an arm is asked the request that it answered otherwise. Those that draw from a seed draw the same after each start, so
/// once would always come to the same of two destinations, and perhaps not to the one that differs.
const ASKED_ALONE: usize = 16;

/// How often it is asked once more when it did what the twin was never seen to do, and how often it has to do such a thing again.
/// What comes once in hundreds of times (a retry that draws the same endpoint six times) may be seen in an arm that is asked a few
/// times, and be missed in a twin that is asked often; it is not seen four times in 64.
const ASKED_AGAIN: usize = 64;
const SEEN_AGAIN: usize = 4;

/// How often both arms are started for one mismatch.
const TRIES_MAX: usize = 120;

/// Makes the mismatch smaller, as far as it goes within a bounded number of tries.
pub fn shrink(mismatch: &mut Mismatch, native: &dyn Arm, arm: &dyn Arm) {
    mismatch.configuration.requests.clear();
    let mut tries = 0;
    // From the front again after each success: what was needed may not be any more.
    'smaller: loop {
        for (configuration, request) in smaller(&mismatch.configuration, &mismatch.request) {
            tries += 1;
            if tries > TRIES_MAX {
                return;
            }
            let smaller = Mismatch { arm: mismatch.arm, configuration, request, difference: String::new() };
            if let Some(difference) = still_differs(&smaller, native, arm) {
                *mismatch = Mismatch { difference, ..smaller };
                continue 'smaller;
            }
        }
        return;
    }
}

/// What differs when this configuration alone is served; `None`: nothing.
pub fn still_differs(mismatch: &Mismatch, native: &dyn Arm, arm: &dyn Arm) -> Option<String> {
    let Mismatch { arm: _, configuration, request, difference: _ } = mismatch;
    let case = super::batch::case(&[configuration]);
    Engine.start(&case).ok()?;
    let servers = Arc::new(Servers::start(&case));
    let mut twin = Served::start(native, &servers, &case).ok()?;
    let measure = twin.observe(&[request], 0).remove(0);
    let mut arm = Served::start(arm, &servers, &case).ok()?;
    let mut observed = arm.observe(&[request; ASKED_ALONE], measure.arrivals());
    observed.sort();
    observed.dedup();
    let sent = vec![request; observed.len()];
    let open = (0..observed.len()).filter(|number| observed[*number] != measure).collect();
    let mut left = never_seen(&mut twin, &sent, &observed, open, ASKING_ALONE_MAX);
    if left.is_empty() {
        return None;
    }
    let again = arm.observe(&[request; ASKED_AGAIN], 0);
    let seen_again = |number: &usize| again.iter().filter(|again| **again == observed[*number]).count();
    let are_seen_again = |left: &[usize]| left.iter().map(seen_again).sum::<usize>() >= SEEN_AGAIN;
    if are_seen_again(&left) {
        // Of many things that are all rare, some may have been missed.
        left = never_seen(&mut twin, &sent, &observed, left, ASKING_ALONE_MAX);
    }
    let told = left.iter().copied().max_by_key(seen_again).filter(|_| are_seen_again(&left))?;
    Some(measure.difference(&observed[told]))
}

/// Everything with one thing less: objects and large parts first.
fn smaller(configuration: &Configuration, request: &Request) -> Vec<(Configuration, Request)> {
    let mut all = Vec::new();
    for place in 0..request.headers.len() {
        let mut less = request.clone();
        less.headers.remove(place);
        all.push((configuration.clone(), less));
    }
    if request.body.is_some() {
        all.push((configuration.clone(), Request { body: None, ..request.clone() }));
    }
    if request.http2 {
        all.push((configuration.clone(), Request { http2: false, ..request.clone() }));
    }
    let mut pointers = Vec::new();
    for (number, object) in configuration.objects.iter().enumerate() {
        let mut less = configuration.clone();
        less.objects.remove(number);
        all.insert(0, (less, request.clone()));
        if let Some(spec) = object.get("spec") {
            collect(spec, &format!("/{number}/spec"), &mut pointers);
        }
    }
    pointers.sort_by_key(|pointer: &String| pointer.matches('/').count());
    for pointer in pointers {
        let mut less = configuration.clone();
        let mut objects = Value::Array(std::mem::take(&mut less.objects));
        remove(&mut objects, &pointer);
        if let Value::Array(objects) = objects {
            less.objects = objects;
            all.push((less, request.clone()));
        }
    }
    all
}

fn collect(value: &Value, at: &str, pointers: &mut Vec<String>) {
    let mut member = |name: &str, value: &Value| {
        // An endpoint that names no port is on the service's, where this machine may have anyone or no one.
        if name == "ports" && value.is_object() {
            return;
        }
        // Names here have neither `/` nor `~`.
        let at = format!("{at}/{name}");
        collect(value, &at, pointers);
        pointers.push(at);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| member(name, value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(place, item)| member(&place.to_string(), item)),
        _ => {}
    }
}

fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    match value.pointer_mut(parent) {
        Some(Value::Object(fields)) => {
            fields.remove(name);
        }
        Some(Value::Array(items)) => {
            if let Ok(place) = name.parse::<usize>()
                && place < items.len()
            {
                items.remove(place);
            }
        }
        _ => {}
    }
}
