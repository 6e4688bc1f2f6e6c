//! Every command in README.md, docs/*.md and examples/*/README.md, run and compared; the convention stands in
//! `shunt_tests::docs`. One test for each document, made from the files that are found.
//!
//! A word behind `--` picks documents by name, `--list` names them; other options of the usual harness do nothing here. `UPDATE_GOLDEN=1`
//! writes what came into the documents.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use shunt_tests::docs::bash::{self, Outcome};
use shunt_tests::docs::verdict::{self, Fault};
use shunt_tests::docs::{Document, copy, rewritten};
use shunt_tests::process;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Documents that run at a time.
const PARALLEL: usize = 2;

/// How long one document may take: other work shares the machine.
const LIMIT: Duration = Duration::from_secs(600);

/// Fences that may be left out, in all documents.
const NOT_RUN_MAX: usize = 4;

/// Last lines of a block that are shown beside a fault.
const SAID_MAX: usize = 10;

/// Fewer would mean that they were not found.
const DOCUMENTS_MIN: usize = 12;
const COMMANDS_MIN: usize = 100;

/// Where set-up puts Envoy.
const ENVOY: &str = ".cache/envoy/envoy";

/// Programs that not every machine has.
const PROGRAMS: [&str; 3] = ["curl", "jq", "python3"];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let root = copy::root();
    let files = copy::files(&root);
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    let names = files.iter().filter(|file| copy::is_document(file)).map(|file| file.display().to_string());
    let names: Vec<String> = names.filter(|name| is_wanted(name)).collect();
    if std::env::args().any(|word| word == "--list") {
        names.iter().for_each(|name| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }

    let (next, tests) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let test = Test::run(name, &root, &files);
                    println!("{test}", test = test.line(name));
                    tests.lock().expect("no panic while it is held").push(test);
                }
            });
        }
    });

    let tests = tests.into_inner().expect("no panic while it is held");
    let mut faults: Vec<String> = tests.iter().flat_map(|test| test.faults.clone()).collect();
    let sum = |count: fn(&Test) -> usize| tests.iter().map(count).sum::<usize>();
    let (commands, run, not_run) = (sum(|test| test.commands), sum(|test| test.run), sum(|test| test.not_run));
    println!("docs: {run} of {commands} commands in {} documents were run; {not_run} blocks are not", tests.len());
    if not_run > NOT_RUN_MAX {
        faults.push(format!("{not_run} blocks are not run, and {NOT_RUN_MAX} may be"));
    }
    if words.is_empty() && (tests.len() < DOCUMENTS_MIN || commands < COMMANDS_MIN) {
        faults.push(format!("only {commands} commands in {} documents were found", tests.len()));
    }
    if faults.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\n{}\n\n{} faults in documents", faults.join("\n\n"), faults.len());
    ExitCode::FAILURE
}

/// What came of one document.
#[derive(Default)]
struct Test {
    commands: usize,
    run: usize,
    not_run: usize,
    seconds: f64,
    skipped: bool,
    faults: Vec<String>,
}

impl Test {
    fn run(name: &str, root: &Path, files: &[PathBuf]) -> Self {
        let mut test = Self::default();
        let text = std::fs::read_to_string(root.join(name)).expect("a readable document");
        let document = match Document::parse(&text) {
            Ok(document) => document,
            Err(wrong) => {
                test.faults = wrong.into_iter().map(|wrong| format!("{name}:{wrong}")).collect();
                return test;
            }
        };
        test.commands = document.commands();
        test.not_run = document.not_run.len();
        if document.steps.is_empty() {
            return test;
        }
        if let Some(reason) = cannot_run(&document) {
            process::skipped(&format!("the commands of {name}"), &reason);
            test.skipped = true;
            return test;
        }
        let begun = Instant::now();
        let outcomes = outcomes(&document, root, files);
        test.seconds = begun.elapsed().as_secs_f64();
        test.run = test.commands;
        test.judge(name, &document, &outcomes);
        test.rewrite(&root.join(name), &text, &document, &outcomes);
        test
    }

    /// Its line among the results.
    fn line(&self, name: &str) -> String {
        let Self { commands, seconds, .. } = self;
        match (self.skipped, self.faults.is_empty()) {
            (true, _) => format!("test {name} ... ignored"),
            (false, true) => format!("test {name} ... ok ({commands} commands, {seconds:.1} s)"),
            (false, false) => format!("test {name} ... FAILED"),
        }
    }

    fn judge(&mut self, name: &str, document: &Document, outcomes: &[Outcome]) {
        for (step, outcome) in document.steps.iter().zip(outcomes) {
            let said = match verdict::judge(step, outcome) {
                Ok(()) => continue,
                Err(Fault::Output { .. }) if is_update() => continue,
                Err(Fault::Output { difference, .. }) => difference,
                Err(Fault::Failed(how)) => how,
            };
            let said = said.replace('\n', "\n    ");
            self.faults.push(format!("{name}:{}: $ {}\n    {said}", step.line, step.text));
        }
        // What servers said explains more than that nobody answered.
        let Some(last) = self.faults.last_mut() else { return };
        let scripts = document.steps.iter().zip(outcomes).filter(|(step, _)| step.output.is_none());
        for (step, outcome) in scripts.filter(|(_, outcome)| !outcome.said.trim().is_empty()) {
            let lines: Vec<_> = outcome.said.lines().collect();
            let said = lines[lines.len().saturating_sub(SAID_MAX)..].join("\n  | ");
            last.push_str(&format!("\n  the block in line {} said:\n  | {said}", step.line));
        }
    }

    /// Puts what came into the document, when that is asked for.
    fn rewrite(&self, at: &Path, text: &str, document: &Document, outcomes: &[Outcome]) {
        let change = |step, outcome| match verdict::judge(step, outcome) {
            Err(Fault::Output { new, .. }) => Some((step.output.as_ref()?, new)),
            _ => None,
        };
        let pairs = document.steps.iter().zip(outcomes);
        let changes: Vec<_> = pairs.filter_map(|(step, outcome)| change(step, outcome)).collect();
        if is_update() && !changes.is_empty() {
            println!("{}: {} outputs rewritten", at.display(), changes.len());
            std::fs::write(at, rewritten(text, changes)).expect("a document that can be written");
        }
    }
}

fn is_update() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

/// Why this machine cannot run a document.
fn cannot_run(document: &Document) -> Option<String> {
    let uses = |word: &str| document.steps.iter().any(|step| step.text.contains(word));
    if uses(ENVOY) && process::envoy().is_none() {
        return Some("no Envoy: name one in ENVOY, or run `make test`".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let missing = PROGRAMS.into_iter().find(|program| uses(program) && !is_there(program));
    missing.map(|program| format!("no {program}")).or_else(|| bash::is_possible().err())
}

/// Runs a document in a fresh copy of the repository, with the command and Envoy where they would be after `make demo`
/// and set-up.
fn outcomes(document: &Document, root: &Path, files: &[PathBuf]) -> Vec<Outcome> {
    let folder = tempfile::tempdir().expect("a folder");
    let in_folder = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        path
    };
    let (copy, programs, notes) = (in_folder("shunt"), in_folder("programs"), in_folder("notes"));
    copy::copy(root, files, &copy).expect("a copy of the repository");
    let shunt = process::shunt().and_then(|path| path.canonicalize().map_err(|error| error.to_string()));
    let shunt = shunt.unwrap_or_else(|error| panic!("{error}"));
    let link = |program: &Path, at: PathBuf| {
        std::fs::create_dir_all(at.parent().expect("a folder")).expect("a folder");
        std::os::unix::fs::symlink(program, at).expect("a link");
    };
    link(&shunt, programs.join("shunt"));
    link(&shunt, copy.join("target/release/shunt"));
    if let Some(envoy) = process::envoy() {
        link(&envoy, copy.join(ENVOY));
    }
    bash::run(&document.steps, &copy, &programs, &notes, LIMIT).expect("a shell")
}
