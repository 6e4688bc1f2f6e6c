//! What is left of the time before: configurations that have gone, clocks that were wrong.

use super::{BUSY, RULE, V2, World, guard};
use crate::breaker::{Admission, BreakerRule, Reason, Watcher};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A host keeps the filter's context of another configuration until its last request is answered, and goes on calling it.
#[test]
fn a_configuration_that_goes_forgets_nobody_whom_it_does_not_know() {
    let mut world = World::new(RULE, 1);
    let (old, mut old_worker) = (world.guard.clone(), world.workers[0].clone());
    world.guard = guard(RULE, &["v1", "v3"]);
    world.workers = vec![Watcher::new(&world.guard, world.now_ms)];
    world.until_told(BUSY, [0, 100]);
    old_worker.record(0, 0, false, false);
    let merged = old_worker.merge(&old, &world.record, world.now_ms);
    world.record = merged.record.clone().unwrap_or(world.record);
    old_worker.keep(merged);
    // What has become of the record is acted on by the second.
    world.rounds(2, BUSY, [0, 0]);
    assert_eq!(world.through, [10, 0, 0], "v3 is still out");
}

/// Both go on looking, and count; the settings of one hold.
#[test]
fn settings_that_have_gone_take_nobody_out() {
    let strict = BreakerRule { percent: 30, ..RULE };
    let mut world = World::new(strict, 1);
    world.round(BUSY, [0, 0]);
    let (old, mut old_worker) = (world.guard.clone(), world.workers[0].clone());
    world.now_ms += 50;
    world.guard = guard(BreakerRule { percent: 80, ..RULE }, &["v1", "v2"]);
    world.workers = vec![Watcher::new(&world.guard, world.now_ms)];
    for _ in 0..200 {
        world.round(BUSY, [0, 50]);
        let merged = old_worker.merge(&old, &world.record, world.now_ms);
        assert_eq!(merged.changes, [], "half is not enough any more");
        world.record = merged.record.clone().unwrap_or(world.record);
        old_worker.keep(merged);
    }
    assert_eq!(world.told, []);
    assert!(matches!(world.until_told(BUSY, [0, 100]).1, Reason::Share(..)), "the new settings hold");
    let merged = old_worker.merge(&old, &world.record, world.now_ms);
    old_worker.keep(merged);
    assert_eq!(old_worker.admits(V2, || 0), Admission::No, "who only looks learns of it");
}

/// A worker that starts anew has the same settings, and later: the others go on.
#[test]
fn whoever_has_the_settings_that_hold_takes_part() {
    let mut world = World::new(RULE, 2);
    world.round(BUSY, [0, 0]);
    world.now_ms += 5_000;
    world.workers[0] = Watcher::new(&world.guard, world.now_ms);
    world.round(BUSY, [0, 0]);
    world.workers.remove(0);
    assert!(matches!(world.until_told(BUSY, [0, 100]).1, Reason::Share(..)));
}

#[test]
fn a_clock_that_is_set_back_leaves_the_settings_to_whoever_is_there() {
    let mut world = World::new(RULE, 1);
    world.now_ms = 9_000_000_000;
    world.workers = vec![Watcher::new(&world.guard, world.now_ms)];
    world.round(BUSY, [0, 0]);
    world.now_ms = 5_000;
    world.guard = guard(BreakerRule { percent: 60, ..RULE }, &["v1", "v2"]);
    world.workers = vec![Watcher::new(&world.guard, world.now_ms)];
    assert!(matches!(world.until_told(BUSY, [0, 100]).1, Reason::Share(..)));
}

/// Requests that hang when a version goes out are answered when it is back.
#[test]
fn what_was_asked_before_a_version_went_out_tells_nothing_of_it_when_it_is_back() {
    let mut world = World::new(RULE, 1);
    let hung = world.workers[0].turn(V2);
    assert!(matches!(world.until_told(BUSY, [0, 100]).1, Reason::Share(..)));
    assert_eq!(world.until_told(BUSY, [0, 0]).1, Reason::Probing);
    let probe = world.workers[0].turn(V2);
    assert!(matches!(world.until_told(BUSY, [0, 0]).1, Reason::Well(3)));
    world.told.clear();
    for _ in 0..100 {
        world.workers[0].record(V2, hung, true, false);
        world.workers[0].record(V2, probe, true, true);
    }
    world.rounds(5, BUSY, [0, 0]);
    assert_eq!(world.told, []);
    // And what is asked now does.
    assert!(matches!(world.until_told([80, 20], [0, 100]).1, Reason::Share(..)));
}

/// Failures in a row come by chance, too: of those that fail more often they do not tell.
#[test]
fn failures_in_a_row_take_nobody_out_who_fails_less_than_stable() {
    let mut world = World::new(BreakerRule { consecutive: 3, percent: 0, ..RULE }, 1);
    world.rounds(300, BUSY, [70, 60]);
    assert_eq!(world.told, []);
}

#[test]
fn what_a_wrong_clock_has_counted_never_counts() {
    let mut world = World::new(RULE, 1);
    world.rounds(4, BUSY, [0, 100]);
    // To another part of the window, which leaves the wrong ones where they are.
    world.now_ms -= 65_000;
    world.rounds(2, BUSY, [0, 0]);
    world.now_ms += 65_000;
    world.rounds(6, [8, 2], [0, 100]);
    assert_eq!(world.told, [], "twelve are not twenty");
    assert_eq!(world.workers[0].admits(V2, || 0), Admission::Yes);
    assert!(matches!(world.until_told(BUSY, [0, 100]).1, Reason::Share(..)));
}

/// Where the other one is well a run is enough, long before it shows among all that was right.
#[test]
fn a_version_that_dies_goes_out_by_the_run() {
    let rule = BreakerRule { consecutive: 5, percent: 0, ..RULE };
    let mut world = World::new(rule, 1);
    world.rounds(80, [80, 20], [1, 0]);
    let (after, reason) = world.until_told([80, 20], [1, 100]);
    assert!(matches!(reason, Reason::Run(20, _)) && after == 100, "{after}: {reason}");
}

/// Workers tell what they have seen in whatever order; the outcome is one.
#[test]
fn the_order_of_workers_does_not_matter() {
    let mut outcomes = Vec::new();
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut world = World::new(RULE, 3);
        let mut told = Vec::new();
        for round in 0..20 {
            for (number, worker) in (0..).zip(&mut world.workers) {
                let turn = worker.turn(V2);
                // The first two see it fail, the third sees it well.
                if !worker.is_out(V2) {
                    worker.record(V2, turn, number < 2, false);
                }
                worker.record(0, 0, false, false);
            }
            world.now_ms += 100;
            for number in order {
                let merged = world.workers[number].merge(&world.guard, &world.record, world.now_ms);
                world.record = merged.record.clone().unwrap_or(world.record);
                told.extend(merged.changes.iter().map(|change| (round, change.out)));
                world.workers[number].keep(merged);
            }
        }
        outcomes.push(told);
    }
    // Of three a round the twentieth comes in the seventh.
    assert!(outcomes.iter().all(|told| *told == [(6, true)]), "{outcomes:?}");
}
