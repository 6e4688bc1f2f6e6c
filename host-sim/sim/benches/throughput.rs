//! How many requests a second the simulator plays, with the real filter. A plain program, because cargo's own harness is
//! not stable: `cargo bench --profile release -p traffic-sim` runs it with the usual profile.

#[path = "../tests/sim/support.rs"]
#[allow(dead_code, reason = "the bench uses a part")]
mod support;

use serde_json::json;
use support::{MODULE, Mesh, analyse, buggy, scenario};
use traffic_sim::{Control, Setup, run};

const REQUESTS: u64 = 1_000_000;

fn main() {
    let get = json!([{"host": support::HOST, "path": "/analyse/sentiment"}]);
    let healthy = json!([{"host": "sa-logic", "versions": [{"outcomes": [{"latency": "20ms"}]}]}]);
    measure("split, GET, all healthy", &Mesh::split(80, 20), &healthy, &get);
    measure("split, POST with bodies, v2 buggy", &Mesh::split(80, 20), &buggy(), &analyse());
    measure("the same with timeout and retries", &Mesh::split(80, 20).timeout(8).retries(3, 3), &buggy(), &analyse());
    measure("each request mirrored", &Mesh::mirrored(), &buggy(), &analyse());
}

#[allow(clippy::disallowed_methods, clippy::expect_used, reason = "a benchmark measures real time, and may fail")]
fn measure(name: &str, mesh: &Mesh, services: &serde_json::Value, requests: &serde_json::Value) {
    let load = json!({"closed": {"clients": 100}, "requests": requests});
    let scenario = scenario(json!({"requests": REQUESTS, "services": services, "load": load})).expect("sound");
    let mut best = f64::MAX;
    for _ in 0..3 {
        let setup = Setup { module: &MODULE, rules: mesh.rules(), configured: Vec::new(), later: Vec::new() };
        let begun = std::time::Instant::now();
        let report = run(&scenario, setup, Control::default()).expect("it runs");
        best = best.min(begun.elapsed().as_secs_f64());
        assert!(report.violations.is_empty(), "{report}");
    }
    println!("{name}: {:.0} requests a second", REQUESTS as f64 / best);
}
