//! Takes the time of inputs of size n and of 8 n, shape by shape, and says which grow faster than they should: `make fuzz`
//! runs it. Clocks are not for tests, so no test does.
#![allow(clippy::disallowed_methods, reason = "this measures real time")]

use shunt_fuzz::growth::{SHAPES, Shape};
use std::process::ExitCode;
use std::time::Instant;

/// Eight times the size may take so many times the time: caches and logarithms are in it, a square (64) is not.
const GROWTH_MAX: f64 = 24.0;

const ROUNDS: u32 = 5;

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

fn fastest(work: &dyn Fn()) -> f64 {
    let round = || {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}
