//! All cases in one arm: a few at a time, every failure reported.

use crate::arms::Arm;
use crate::case::Case;
use crate::{check, process};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Lines of a host's own log that a failure shows.
const LOG_LINES: usize = 20;

/// Runs these cases in this arm.
///
/// # Panics
///
/// With a report of every case that failed.
pub fn run(arm: &dyn Arm, cases: Vec<Case>) {
    let cases: Vec<_> = cases.into_iter().filter(is_wanted).collect();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..arm.parallel() {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match case.skip.get(arm.name()) {
                        Some(reason) => process::skipped(&format!("{} in {}", case.name, arm.name()), reason),
                        None => {
                            if let Err(report) = judged(arm, case) {
                                failures.lock().expect("no panic while it is held").push(report);
                            }
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no panic while it is held");
    println!("{}: {} cases in {:.1} s", arm.name(), cases.len(), begun.elapsed().as_secs_f64());
    assert!(failures.is_empty(), "\n\n{}\n{} of {} cases failed", failures.join("\n"), failures.len(), cases.len());
}

/// One case, and whether an arm differs that is said to, or an Envoy that is too old for it.
fn judged(arm: &dyn Arm, case: &Case) -> Result<(), String> {
    let old = arm.envoy().zip(case.since.as_ref()).filter(|(version, since)| *version < since.envoy);
    let (title, expected) = match (case.differs.get(arm.name()), old) {
        (Some(reason), _) => (format!("{} in {}", case.name, arm.name()), Some(reason)),
        (None, Some((version, since))) => (format!("{} in Envoy {version}", case.name), Some(&since.because)),
        (None, None) => (String::new(), None),
    };
    match (run_case(arm, case), expected) {
        (result, None) => result,
        (Err(_), Some(reason)) => {
            // That an arm of ours is no Envoy is no difference between Envoys.
            if old.is_some() {
                process::differs(&title, reason);
            }
            Ok(())
        }
        (Ok(()), Some(reason)) => Err(format!("{title} ({})\n  does not differ, and should: {reason}\n", case.file)),
    }
}

/// `CASE=words` runs only the cases whose name contains them.
fn is_wanted(case: &Case) -> bool {
    std::env::var("CASE").map_or(true, |part| case.name.contains(&part))
}

/// One case in this arm.
///
/// # Errors
///
/// A report of what is not as expected.
pub fn run_case(arm: &dyn Arm, case: &Case) -> Result<(), String> {
    let title = || format!("{} ({}) in {}", case.name, case.file, arm.name());
    if !case.refused.is_empty() {
        let Err(said) = arm.start(case) else { return Err(format!("{}\n  is taken\n", title())) };
        let unsaid: Vec<_> = case.refused.iter().filter(|code| !said.contains(&format!("[{code}]"))).collect();
        return if unsaid.is_empty() { Ok(()) } else { Err(format!("{}\n  {unsaid:?} not in: {said}\n", title())) };
    }
    let mut running = arm.start(case).map_err(|error| format!("{}\n  does not start: {error}", title()))?;
    let mut lines = Vec::new();
    let mut met = BTreeMap::new();
    for (number, request) in (1..).zip(&case.requests) {
        let mut replies = Vec::new();
        let mut found = Vec::new();
        let mut sent = request.clone();
        sent.send.host = running.fleet().filled(&request.send.host);
        for _ in 0..request.times {
            match running.send(&sent) {
                Ok(reply) => replies.push(reply),
                Err(error) => {
                    found.push(error);
                    break;
                }
            }
        }
        let arrivals = running.arrivals(check::arrivals_expected(request));
        if found.is_empty() {
            found = check::differences(request, &replies, &arrivals, arm.slack());
            found.extend(check::strangers(request, &arrivals, &mut met));
        }
        if !found.is_empty() {
            lines.push(format!("  request {number}: {}", request.send));
            lines.extend(found.iter().map(|line| format!("    {line}")));
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    let log = running.log();
    let from = log.lines().count().saturating_sub(LOG_LINES);
    lines.extend(log.lines().skip(from).map(|line| format!("  | {line}")));
    Err(format!("{}\n{}\n", title(), lines.join("\n")))
}
