//! What a breaker has to live through, each fault by its name.

mod leftovers;

use super::record::Record;
use super::{Admission, BreakerRule, Failures, Guard, Reason, Watcher};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const RULE: BreakerRule = BreakerRule { percent: 50, ..BreakerRule::UNSAID };

fn guard(rule: BreakerRule, members: &[&str]) -> Guard {
    let all = (0..).zip(members).map(|(member, _)| (member, if member == 0 { 80 } else { 20 }));
    Guard {
        policy: "default/p".into(),
        members: members.iter().map(|name| (*name).into()).collect(),
        weights: [all.collect()].into(),
        breaker: Some(rule),
        failures: Failures::default(),
        switch: None,
    }
}

/// Some workers, and the record that they share.
struct World {
    guard: Guard,
    workers: Vec<Watcher>,
    record: Vec<u8>,
    now_ms: u64,
    chance: u64,
    /// Of the last round, by member: how many requests were let through.
    through: [u64; 3],
    told: Vec<Reason>,
}

const V2: u32 = 1;

impl World {
    fn new(rule: BreakerRule, workers: usize) -> Self {
        let guard = guard(rule, &["v1", "v2"]);
        let workers = vec![Watcher::new(&guard, 1_000_000); workers];
        Self { guard, workers, record: Vec::new(), now_ms: 1_000_000, chance: 1, through: [0; 3], told: Vec::new() }
    }

    fn draw(&mut self) -> u64 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.chance
    }

    /// A tenth of a second in which so many requests are meant for each version, and fail so often of a hundred.
    fn round(&mut self, meant: [u64; 2], fail: [u64; 2]) {
        self.through = [0; 3];
        for (member, count) in (0..).zip(meant) {
            for number in 0..count {
                let (draw, chance) = (self.draw(), (self.draw() >> 32) % 100);
                let count = self.workers.len();
                let worker = &mut self.workers[usize::try_from(number).unwrap() % count];
                let admission = if member == 0 { Admission::Yes } else { worker.admits(member, || draw) };
                let to = if admission == Admission::No { 0 } else { member };
                let place = usize::try_from(to).unwrap();
                let turn = worker.turn(to);
                worker.record(to, turn, chance < fail[place], admission == Admission::Probe);
                self.through[place] += 1;
            }
        }
        self.now_ms += 100;
        for worker in &mut self.workers {
            let merged = worker.merge(&self.guard, &self.record, self.now_ms);
            self.record = merged.record.clone().unwrap_or_else(|| self.record.clone());
            self.told.extend(merged.changes.iter().map(|change| change.reason));
            worker.keep(merged);
        }
    }

    /// Rounds until something is told; the milliseconds it took.
    fn until_told(&mut self, meant: [u64; 2], fail: [u64; 2]) -> (u64, Reason) {
        let begun = self.now_ms;
        self.told.clear();
        for _ in 0..2_000 {
            self.round(meant, fail);
            if let Some(reason) = self.told.first() {
                return (self.now_ms - begun, *reason);
            }
        }
        panic!("nothing is told");
    }

    fn rounds(&mut self, count: u64, meant: [u64; 2], fail: [u64; 2]) {
        (0..count).for_each(|_| self.round(meant, fail));
    }
}

const BUSY: [u64; 2] = [8, 2];

#[test]
fn a_version_that_fails_goes_out_and_comes_back_by_probes() {
    for workers in [1, 2, 7] {
        let mut world = World::new(RULE, workers);
        let (after, reason) = world.until_told(BUSY, [0, 100]);
        assert!(matches!(reason, Reason::Share(_, _, 5_000)), "{reason}");
        assert!(after <= 1_500, "{after}: twenty requests at twenty a second");
        // Workers that had looked before the last one told it learn it at their next look.
        world.rounds(2, BUSY, [0, 100]);
        assert_eq!(world.through, [10, 0, 0], "nobody meets it");
        let (after, reason) = world.until_told(BUSY, [0, 0]);
        assert_eq!(reason, Reason::Probing);
        assert!((4_700..=5_100).contains(&after), "{after}");
        let (after, reason) = world.until_told(BUSY, [0, 0]);
        assert_eq!(reason, Reason::Well(3));
        assert!(after <= 1_000, "{after}");
        let (after, reason) = world.until_told(BUSY, [0, 0]);
        assert_eq!(reason, Reason::Back);
        assert!((9_900..=10_100).contains(&after), "{after}");
        world.round(BUSY, [0, 0]);
        assert_eq!(world.through, [8, 2, 0]);
    }
}

#[test]
fn failures_in_a_row_are_enough_where_they_are_said_to_be() {
    let rule = BreakerRule { consecutive: 5, percent: 0, ..RULE };
    let mut world = World::new(rule, 1);
    world.rounds(100, [8, 2], [0, 50]);
    let runs = world.told.iter().filter(|reason| matches!(reason, Reason::Run(..))).count();
    assert!(runs > 0, "of half of 200 failing five in a row come");
    let mut calm = World::new(rule, 1);
    let meant = [8, 1];
    for _ in 0..100 {
        calm.rounds(4, meant, [0, 100]);
        calm.round(meant, [0, 0]);
    }
    assert_eq!(calm.told, [], "four in a row are not five");
    calm.rounds(5, meant, [0, 100]);
    assert_eq!(calm.told, [Reason::Run(5, 5_000)]);
}

#[test]
fn with_few_requests_a_share_says_nothing() {
    let mut world = World::new(RULE, 1);
    for _ in 0..100 {
        world.round([1, 1], [0, 100]);
        world.rounds(9, [1, 0], [0, 100]);
    }
    assert_eq!(world.told, [], "one a second is ten in a window");
}

#[test]
fn what_fails_seldom_stays() {
    let mut world = World::new(RULE, 2);
    world.rounds(1_000, BUSY, [0, 30]);
    assert_eq!(world.told, []);
}

/// It fails, is well while it is probed, and fails again.
#[test]
fn a_flapping_version_is_out_for_longer_and_longer() {
    let mut world = World::new(RULE, 2);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let (_, reason) = world.until_told(BUSY, [0, 100]);
        assert!(matches!(reason, Reason::Share(..)), "{reason}");
        let (pause, reason) = world.until_told(BUSY, [0, 0]);
        assert_eq!(reason, Reason::Probing);
        pauses.push((pause + 200) / 1_000);
        assert!(matches!(world.until_told(BUSY, [0, 0]).1, Reason::Well(_)));
    }
    assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
}

#[test]
fn a_failed_probe_keeps_it_out() {
    let mut world = World::new(RULE, 1);
    world.until_told(BUSY, [0, 100]);
    assert_eq!(world.until_told(BUSY, [0, 100]).1, Reason::Probing);
    let (_, reason) = world.until_told(BUSY, [0, 100]);
    assert_eq!(reason, Reason::Probe(10_000));
    assert!(world.through[1] <= 1, "one request of many has met it: {:?}", world.through);
}

#[test]
fn where_all_versions_are_sick_nobody_is_worse_off() {
    let mut world = World::new(RULE, 2);
    world.rounds(100, BUSY, [100, 90]);
    assert_eq!(world.told, [], "v2 fails less than v1");
    let mut world = World::new(RULE, 2);
    world.round([2, 2], [0, 0]);
    world.rounds(100, BUSY, [100, 100]);
    assert_eq!(world.told, [], "no more than a little");
    // v1 falls ill while v2 is out.
    let mut world = World::new(RULE, 2);
    world.until_told(BUSY, [0, 80]);
    let (after, reason) = world.until_told(BUSY, [100, 80]);
    assert_eq!(reason, Reason::NoBetter);
    assert!(after <= 10_000, "{after}: within a window");
    world.rounds(150, BUSY, [100, 80]);
    world.round(BUSY, [100, 80]);
    assert_eq!(world.through, [8, 2, 0]);
}

#[test]
fn a_version_that_recovers_does_not_get_everything_at_once() {
    let mut world = World::new(RULE, 3);
    world.until_told([80, 20], [0, 100]);
    world.until_told([80, 20], [0, 0]);
    assert!(matches!(world.until_told([80, 20], [0, 0]).1, Reason::Well(_)));
    let mut got = Vec::new();
    for _ in 0..10 {
        let mut sum = 0;
        for _ in 0..10 {
            world.round([80, 20], [0, 0]);
            sum += world.through[1];
        }
        got.push(sum);
    }
    assert!((15..=45).contains(&got[0]), "{got:?}: of 200 a tenth and a little");
    assert!((80..=120).contains(&got[4]), "{got:?}: half");
    assert!((170..=200).contains(&got[9]), "{got:?}: nearly all");
}

#[test]
fn a_share_may_be_limited() {
    let rule = BreakerRule { out_percent_max: 20, ..RULE };
    let mut world = World::new(rule, 1);
    world.guard = guard(rule, &["v1", "v2", "v3"]);
    world.workers = vec![Watcher::new(&world.guard, world.now_ms)];
    world.guard.weights = [[(0, 60), (1, 20), (2, 20)].into()].into();
    let merge = |world: &mut World| {
        world.now_ms += 100;
        let merged = world.workers[0].merge(&world.guard, &world.record, world.now_ms);
        world.record = merged.record.clone().unwrap_or_default();
        let out: Vec<_> = merged.changes.iter().filter(|change| change.out).map(|change| change.member).collect();
        world.workers[0].keep(merged);
        out
    };
    for _ in 0..30 {
        world.workers[0].record(0, 0, false, false);
        world.workers[0].record(1, 0, true, false);
        world.workers[0].record(2, 0, true, false);
    }
    assert_eq!(merge(&mut world), [1], "a fifth is out, and there is no room for another");
    assert_eq!(merge(&mut world), Vec::<u32>::new());
}

#[test]
fn a_clock_that_jumps_keeps_nothing_out_for_long() {
    let mut world = World::new(RULE, 1);
    world.until_told(BUSY, [0, 100]);
    world.now_ms -= 900_000;
    let (after, reason) = world.until_told(BUSY, [0, 0]);
    assert_eq!(reason, Reason::Probing);
    assert!(after <= 5_200, "{after}: no longer than from now");
    let mut world = World::new(RULE, 1);
    world.until_told(BUSY, [0, 100]);
    world.now_ms += 900_000;
    assert_eq!(world.until_told(BUSY, [0, 0]).1, Reason::Probing);
    world.now_ms = u64::MAX - 1_000;
    world.round(BUSY, [0, 100]);
    world.now_ms = 0;
    world.rounds(300, BUSY, [0, 100]);
    world.round(BUSY, [0, 100]);
}

#[test]
fn a_worker_that_begins_anew_knows_who_is_out() {
    let mut world = World::new(RULE, 2);
    world.until_told(BUSY, [0, 100]);
    world.workers = vec![Watcher::new(&world.guard, world.now_ms); 3];
    for worker in &mut world.workers {
        let merged = worker.merge(&world.guard, &world.record, world.now_ms);
        assert_eq!((&merged.record, merged.changes.len()), (&None, 0), "it has nothing to tell");
        worker.keep(merged);
    }
    world.round(BUSY, [0, 100]);
    assert_eq!(world.through, [10, 0, 0]);
}

#[test]
fn another_configuration_leaves_alone_who_stays() {
    let mut world = World::new(RULE, 1);
    world.until_told(BUSY, [0, 100]);
    world.guard = guard(BreakerRule { open_ms: 6_000, ..RULE }, &["v1", "v3", "v2"]);
    let mut worker = Watcher::new(&world.guard, world.now_ms);
    let merged = worker.merge(&world.guard, &world.record, world.now_ms);
    assert_eq!(merged.changes, []);
    worker.keep(merged);
    assert_eq!(worker.admits(1, || 0), Admission::Yes, "v3 is new");
    assert_eq!(worker.admits(2, || 0), Admission::No, "v2 is still out");
    world.guard = guard(RULE, &["v1", "v3"]);
    let merged = worker.merge(&world.guard, &world.record, world.now_ms);
    let kept = |bytes: &[u8]| Record::read(bytes).write().windows(2).any(|name| name == b"v2");
    assert!(merged.record.as_deref().is_none_or(kept), "who has gone may come back");
    let merged = worker.merge(&world.guard, &world.record, world.now_ms + 600_000);
    assert!(merged.record.is_some_and(|bytes| !kept(&bytes)), "but is not waited for forever");
}

#[test]
fn a_probe_that_nobody_answers_for_makes_room_for_another() {
    let rule = BreakerRule { probes: 1, ..RULE };
    let mut world = World::new(rule, 1);
    world.until_told(BUSY, [0, 100]);
    assert_eq!(world.until_told(BUSY, [0, 0]).1, Reason::Probing);
    // The client of the probe goes away.
    assert_eq!(world.workers[0].admits(V2, || 0), Admission::Probe);
    let lost = world.now_ms;
    assert!(matches!(world.until_told(BUSY, [0, 0]).1, Reason::Well(1)));
    assert!((9_000..=11_000).contains(&(world.now_ms - lost)), "{}", world.now_ms - lost);
}

#[test]
fn the_switch_goes_before_everything() {
    let mut watcher = Watcher::new(&guard(RULE, &["v1", "v2"]), 0);
    assert_eq!(watcher.admits(V2, || 0), Admission::Yes);
    watcher.kill(true);
    assert_eq!(watcher.admits(V2, || 0), Admission::No);
    watcher.kill(false);
    assert_eq!(watcher.admits(V2, || 0), Admission::Yes);
}

#[test]
fn nothing_is_written_while_nothing_happens() {
    let mut world = World::new(RULE, 1);
    world.rounds(10, BUSY, [0, 0]);
    world.now_ms += 100;
    assert_eq!(world.workers[0].merge(&world.guard, &world.record, world.now_ms).record, None);
}

#[test]
fn any_bytes_are_a_record_and_no_record_harms() {
    let mut world = World::new(RULE, 1);
    world.until_told(BUSY, [0, 100]);
    let whole = world.record.clone();
    assert_eq!(Record::read(&whole).write(), whole);
    for end in 0..whole.len() {
        let _ = Record::read(&whole[..end]);
    }
    let mut chance = World::new(RULE, 1);
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + chance.draw() % 8 {
            let place = usize::try_from(chance.draw() >> 33).unwrap() % bytes.len();
            bytes[place] = u8::try_from(chance.draw() >> 56).unwrap();
        }
        let mut worker = Watcher::new(&world.guard, world.now_ms);
        worker.record(V2, 0, true, true);
        let merged = worker.merge(&world.guard, &bytes, world.now_ms);
        worker.keep(merged);
        worker.admits(V2, || u64::MAX);
    }
}
