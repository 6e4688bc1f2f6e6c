//! Takes the time of inputs of size n and of 8 n, shape by shape, and says which grow faster than they should: `make fuzz`
//! runs it. Clocks are not for tests, so no test does.
#![allow(clippy::disallowed_methods, reason = "this measures real time")]

use shunt_fuzz::growth::{SHAPES, Shape};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Instant;

/// Eight times the size may take so many times the time: caches and logarithms are in it, a square (64) is not.
const GROWTH_MAX: f64 = 24.0;

const ROUNDS: u32 = 3;

const ROUND_SECONDS: f64 = 0.05;

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let mut grown = 0;
    println!("{:<34} {:>8} {:>11} {:>11} {:>7}", "shape", "n", "n, ms", "8 n, ms", "times");
    for Shape { name, size, prepare } in SHAPES.iter().filter(|shape| shape.name.contains(&wanted)) {
        let (small, large) = (fastest(&prepare(*size)), fastest(&prepare(size * 8)));
        let growth = large / small;
        let verdict = if growth > GROWTH_MAX { "  grows too fast" } else { "" };
        grown += u32::from(growth > GROWTH_MAX);
        println!("{name:<34} {size:>8} {:>11.3} {:>11.3} {growth:>7.1}{verdict}", small * 1e3, large * 1e3);
    }
    if grown == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Seconds of one piece of work: the least of several rounds, each long enough for the system to count it.
fn fastest(work: &dyn Fn()) -> f64 {
    let round = || {
        let (start, mut times) = (cpu_ns(), 0.0);
        loop {
            work();
            times += 1.0;
            let spent = (cpu_ns() - start) as f64 / 1e9;
            if spent > ROUND_SECONDS {
                return spent / times;
            }
        }
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

/// Time this thread was on a processor, as the system counts it, a few milliseconds late: on a busy machine the clock on the
/// wall says nothing. Elsewhere than on Linux, the clock on the wall.
fn cpu_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let charged = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let charged = charged.and_then(|text| text.split(' ').next()?.parse().ok());
    charged.unwrap_or_else(|| START.get_or_init(Instant::now).elapsed().as_nanos() as u64)
}
