//! Every target on its seeds and on bytes drawn from a seed: so many inputs, whatever the machine. `make fuzz` goes further.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]

use shunt_fuzz::TARGETS;
use shunt_fuzz::bytes::Source;
use shunt_fuzz::targets::Target;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Inputs a target is run on, besides its seeds.
const INPUTS: usize = 1_500;

/// Longest input that is drawn, in bytes.
const LONGEST: usize = 1 << 12;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&folder).expect("a folder of seeds").map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a readable seed")).collect()
}

/// `SHUNT_FUZZ_SEED` repeats a run.
fn seed() -> u64 {
    match std::env::var("SHUNT_FUZZ_SEED") {
        Ok(text) => text.parse().expect("SHUNT_FUZZ_SEED is a number"),
        Err(_) => 1,
    }
}

fn run(target: &Target, what: &str, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(target.name);
        std::fs::write(&kept, input).expect("a folder that can be written to");
        eprintln!("target {}, {what}: kept as {}", target.name, kept.display());
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn targets_hold_on_seeds_and_on_drawn_bytes() {
    let seed = seed();
    println!("SHUNT_FUZZ_SEED={seed}");
    for target in TARGETS {
        let seeds = seeds(target.name);
        assert!(!seeds.is_empty(), "{} has no seed", target.name);
        for input in &seeds {
            run(target, "a seed", input);
        }
        let mut source = Source::new(seed);
        for number in 0..INPUTS {
            let random = !target.wants_seeds || source.below(8) == 0;
            let input = if random {
                source.bytes(LONGEST)
            } else {
                let (at, other) = (source.below(seeds.len()), source.below(seeds.len()));
                source.mutate(&seeds[at], &seeds[other])
            };
            run(target, &format!("input {number} of SHUNT_FUZZ_SEED={seed}"), &input);
        }
    }
}

#[test]
fn every_target_has_a_program_for_libfuzzer_and_seeds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = |folder: &str| {
        let mut names: Vec<_> = std::fs::read_dir(root.join(folder))
            .expect("a folder")
            .map(|entry| entry.unwrap().path().file_stem().expect("a name").to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    let mut expected: Vec<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    expected.sort();
    assert_eq!(names("libfuzzer/fuzz_targets"), expected);
    assert_eq!(names("seeds"), expected);
}
