//! The kill switch: a request with the secret turns it for all workers, without another configuration.

use crate::guards::{Guards, is_on};
use crate::hostcalls::{self, LogLevel};
use crate::pairs;
use sha2::{Digest, Sha256};
use traffic_policy::{Policy, RequestHead};

/// What turns it: `on SECRET`, `off SECRET`; `status SECRET` asks. Not under `x-shunt-`, which no client may send.
const HEADER: &[u8] = b"shunt-kill-switch";

/// What stands in shared data while it is on, and when it was turned off.
pub(crate) const ON: &[u8] = b"on";
const OFF: &[u8] = b"off";

/// The key of its state. Whoever knows it knows no secret.
pub(crate) fn key(sha256: &[u8; 32]) -> String {
    let digits = sha256.iter().map(|byte| format!("{byte:02x}"));
    digits.fold("shunt.switch.".to_owned(), |key, digits| key + &digits)
}

/// Answers a request that would turn a switch; `false` for all others, and where no policy has one.
pub(crate) fn turn(policy: &Policy, guards: &Guards, request: &RequestHead<'_>) -> bool {
    let has_switch = policy.guards().iter().any(|guard| guard.switch.is_some());
    let Some(word) = has_switch.then(|| request.values(HEADER).next()).flatten() else { return false };
    let (status, text) = match carried_out(policy, guards, word) {
        Some(text) => (200, text),
        None => {
            hostcalls::log(LogLevel::Warn, "shunt: a request would turn a kill switch, and has no secret of any");
            (403, "no kill switch has this secret: write `on SECRET`, `off SECRET` or `status SECRET`\n".to_owned())
        }
    };
    let headers = pairs::write(&[(b"content-type", b"text/plain"), (b"cache-control", b"no-store")]);
    hostcalls::send_local_response(status, "shunt_kill_switch", text.as_bytes(), &headers);
    true
}

/// What is told of a switch that has this secret.
fn carried_out(policy: &Policy, guards: &Guards, word: &[u8]) -> Option<String> {
    let space = word.iter().position(|byte| *byte == b' ')?;
    let (verb, secret) = word.split_at_checked(space)?;
    let digest: [u8; 32] = Sha256::digest(secret.trim_ascii()).into();
    let own = |switch: &traffic_policy::breaker::Switch| switch.sha256 == Some(digest);
    let numbered = || (0_u32..).zip(policy.guards());
    let held: Vec<_> = numbered().filter(|(_, guard)| guard.switch.as_ref().is_some_and(own)).collect();
    let first = held.first()?;
    let on = match verb {
        b"on" => true,
        b"off" => false,
        b"status" => guards.is_killed(first.0),
        _ => return None,
    };
    if verb != b"status" {
        // With version 0 it holds whoever has written before. Other workers see it when they look.
        hostcalls::set_shared_data(&key(&digest), if on { ON } else { OFF }, 0);
    }
    let mut text = String::new();
    for (number, guard) in held {
        let by_files = is_on(guard);
        if verb != b"status" {
            guards.kill(number, on || by_files);
        }
        let stable = guard.members.first().map_or("", |name| name);
        let state = match (by_files, on) {
            (true, _) => "on, by the files: everything goes to",
            (false, true) => "on: everything goes to",
            (false, false) => "off: weights decide beside",
        };
        text.push_str(&format!("{}: {state} {stable}\n", guard.policy));
    }
    if verb != b"status" {
        hostcalls::log(LogLevel::Warn, &format!("shunt: kill switch: {}", text.trim_end()));
    }
    Some(text)
}
