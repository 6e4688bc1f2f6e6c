//! The gates of a ramp close where they should, and only there.

use serde_json::json;
use traffic_sim::{Gates, Percent, Percentile, RampStep, Ramping, Report, Span};

use crate::support::{Mesh, analyse, buggy};

fn step(v2: u64) -> Report {
    let load = json!({"closed": {"clients": 10}, "requests": analyse()});
    Mesh::split(100 - v2, v2).run(json!({"requests": 2_000, "services": buggy(), "load": load}))
}

#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn gates(success: &str, drop: &str, p50: &str, rise_percent: u64) -> Gates {
    Gates {
        success: Percent::parse(success).unwrap(),
        drop: Percent::parse(drop).unwrap(),
        latency: vec![(Percentile::parse("p50").unwrap(), Span::parse(p50).unwrap())],
        rise_percent,
    }
}

/// Which gates are open, in their order: success, drop, p50, rise.
fn open(gates: &Gates, before: &Report, now: &Report) -> Vec<bool> {
    gates.judge(before, now).iter().map(|gate| gate.is_open).collect()
}

#[test]
fn each_gate_closes_by_its_own_limit() {
    // 20 ms and all well; then some 6.7 % fail, and as many take 30 s.
    let (before, now) = (step(0), step(20));
    assert_eq!(open(&gates("99%", "1%", "20ms", 100), &before, &before), [true; 4]);
    assert_eq!(open(&gates("99%", "1%", "19ms", 100), &before, &now), [false; 4]);
    assert_eq!(open(&gates("90%", "1%", "19ms", 100), &before, &now), [true, false, false, false]);
    assert_eq!(open(&gates("99%", "10%", "19ms", 100), &before, &now), [false, true, false, false]);
    assert_eq!(open(&gates("99%", "1%", "20ms", 100), &before, &now), [false, false, true, false]);
    assert_eq!(open(&gates("99%", "1%", "19ms", 1_000_000), &before, &now), [false, false, false, true]);
    // What is better than before closes nothing.
    assert_eq!(open(&gates("90%", "0%", "20ms", 0), &now, &before), [true; 4]);
}

#[test]
fn the_last_step_tells_why_it_is_closed() {
    let (before, now) = (step(0), step(20));
    let gates = gates("99%", "1%", "20ms", 100).judge(&before, &now);
    let share = |percent: u64| Percent { ppm: percent * 10_000 };
    let steps = vec![
        RampStep { share: share(0), report: before, gates: Vec::new(), users_moved: None },
        RampStep { share: share(20), report: now, gates, users_moved: Some(0.2) },
    ];
    let planned = vec![share(20), share(100)];
    let mut ramping = Ramping { route: "sa-logic".into(), to: "v2".into(), planned, steps };
    assert_eq!(ramping.closed().map(|step| step.share), Some(share(20)));
    let text = ramping.to_string();
    assert!(text.starts_with("sa-logic to v2: 20, 100 %\n"), "{text}");
    for part in ["Stopped at 20 %", "at least 99 %", "version=v2"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 96 && line.trim_end() == line), "{text}");
    ramping.steps.pop();
    assert!(ramping.closed().is_none() && !ramping.to_string().contains("Stopped"));
}
