//! What every file of the repository keeps to.
#![allow(clippy::expect_used, clippy::panic, reason = "this is a test")]

use std::path::{Path, PathBuf};

/// In halves, so that this file does not contain them.
const REGISTRY_HOSTS: [&str; 6] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("files.python", "hosted"),
    concat!("registry.", "npmjs"),
    concat!("deb.", "debian"),
    concat!("proxy.", "golang"),
];

/// Paths that exist on one machine only.
const MACHINE_PATHS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Cargo writes this one.
const LOCK: &str = "Cargo.lock";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace around this crate").to_owned()
}

/// Every file that git would keep: all but those below the folders that `.gitignore` names.
fn files() -> Vec<PathBuf> {
    let root = root();
    let ignore = std::fs::read_to_string(root.join(".gitignore")).expect("a .gitignore");
    let ignored: Vec<PathBuf> = ignore
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let name = line.strip_prefix('/').unwrap_or_else(|| panic!("{line}: this test reads only /folder lines"));
            root.join(name.trim_end_matches('/'))
        })
        .chain([root.join(".git")])
        .collect();
    let mut files = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let entry = entry.expect("a readable entry");
            let path = entry.path();
            let kind = entry.file_type().expect("a kind of file");
            if ignored.contains(&path) {
                continue;
            } else if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The lines that `is_wrong` finds fault with, as `file:line: text`.
fn lines_that(is_wrong: impl Fn(&str) -> bool, files: &[PathBuf]) -> Vec<String> {
    let mut found = Vec::new();
    for path in files {
        // What vanishes while this runs was somebody's temporary file.
        let Ok(bytes) = std::fs::read(path) else { continue };
        let name = path.strip_prefix(root()).unwrap_or(path).display().to_string();
        for (number, line) in (1..).zip(String::from_utf8_lossy(&bytes).lines()) {
            if is_wrong(line) {
                let start: String = line.trim().chars().take(120).collect();
                found.push(format!("{name}:{number}: {start}"));
            }
        }
    }
    found
}

#[test]
fn every_source_file_begins_with_its_reason() {
    let files = files();
    let sources: Vec<_> = files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs")).collect();
    assert!(sources.len() > 100, "only {} source files", sources.len());
    let begins = |path: &Path| std::fs::read_to_string(path).is_ok_and(|text| text.starts_with("//!"));
    let bare: Vec<_> = sources.iter().filter(|path| path.exists() && !begins(path)).collect();
    assert!(bare.is_empty(), "without `//!` in the first line: {bare:#?}");
}

#[test]
fn no_line_names_a_registry() {
    let files: Vec<_> = files().into_iter().filter(|path| !path.ends_with(LOCK)).collect();
    let found = lines_that(|line| REGISTRY_HOSTS.iter().any(|host| line.contains(host)), &files);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_line_names_a_path_of_one_machine() {
    let found = lines_that(|line| MACHINE_PATHS.iter().any(|path| line.contains(path)), &files());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_tests_above_find_what_they_look_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a");
    std::fs::write(&file, format!("fine\nhttps://{}/x\n{}x\n", REGISTRY_HOSTS[0], MACHINE_PATHS[0])).expect("a file");
    let found = |words: &[&str]| {
        lines_that(|line| words.iter().any(|word| line.contains(word)), std::slice::from_ref(&file)).len()
    };
    assert_eq!((found(&REGISTRY_HOSTS), found(&MACHINE_PATHS)), (1, 1));
    assert!(files().iter().any(|path| path.ends_with("tests/tests/tidy.rs")), "this file itself is looked at");
}
