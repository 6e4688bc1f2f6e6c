//! `make fidelity`: what rehearsals say of the stories, beside what happens in real Envoy in real time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "this is a test")]

use shunt_tests::fidelity::Story;
use shunt_tests::process;
use std::path::Path;
use std::time::Duration;

/// By name in `examples`, and for how long each is played.
const STORIES: [(&str, u64); 6] = [
    ("hello/hello", 100),
    ("sentiment/shadowing", 60),
    ("sentiment/canary", 60),
    ("sentiment/canary-retries", 60),
    ("sentiment/protected/fallback", 60),
    ("sentiment/protected/breaker", 120),
];

#[test]
#[ignore = "nine minutes of real time: `make fidelity`"]
fn rehearsals_say_what_happens_in_envoy() {
    let shunt = process::shunt().unwrap_or_else(|error| panic!("{error}"));
    let Some(envoy) = process::envoy() else {
        return process::skipped("fidelity", "no Envoy: name one in ENVOY, or run `make fidelity`");
    };
    let mut disagree = Vec::new();
    for (file, seconds) in STORIES {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../examples/{file}.scenario.yaml"));
        let story = Story::read(file).unwrap_or_else(|error| panic!("{error}"));
        let rehearsed = story.rehearse(&shunt).unwrap_or_else(|error| panic!("{error}"));
        let played =
            story.play(&shunt, &envoy, Duration::from_secs(seconds), 1).unwrap_or_else(|error| panic!("{error}"));
        println!("\n| {} | rehearsed | in Envoy | |\n|---|---|---|---|", story.name());
        for compared in rehearsed.compare(&played) {
            let verdict = if compared.agrees { "" } else { "differs" };
            println!("| {} | {} | {} | {verdict} |", compared.what, compared.rehearsed, compared.played);
            if !compared.agrees {
                disagree.push(format!("{}: {}", story.name(), compared.what));
            }
        }
    }
    assert!(disagree.is_empty(), "{disagree:?}");
}
