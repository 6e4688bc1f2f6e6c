//! The catalogue of faults: one in each manifest of `tests/broken`, named in its first line, and found where it is.

use crate::findings;
use istio_config::Severity;
use shunt_tests::process;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("broken")
}

/// The manifests, by name.
fn manifests() -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

#[test]
fn every_fault_of_the_catalogue_is_found_where_it_is_and_nothing_else() {
    let base = fs::read(folder().join("base/services.yaml")).unwrap();
    let mut wrong = Vec::new();
    for path in manifests() {
        let text = fs::read(&path).unwrap();
        let first = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned();
        let expected = first.strip_prefix("# ").unwrap_or_else(|| panic!("{}: no expectation", path.display()));
        let found = findings(&[("base", &base), ("f", &text)], "f");
        let is_there = found.iter().any(|(_, found)| found == expected);
        let others: Vec<_> =
            found.iter().filter(|(severity, other)| *severity > Severity::Note && other != expected).collect();
        if !is_there || !others.is_empty() {
            wrong.push(format!("{}\n  expected {expected}\n  found    {found:?}", path.display()));
        }
    }
    assert!(manifests().len() >= 100, "only {} faults", manifests().len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_faults_refer_to_has_none() {
    let base = fs::read(folder().join("base/services.yaml")).unwrap();
    let found = findings(&[("base", &base)], "base");
    assert!(found.iter().all(|(severity, _)| *severity == Severity::Note), "{found:?}");
}

#[test]
fn a_folder_of_broken_manifests_is_read_to_its_end() {
    let command = process::shunt().unwrap_or_else(|error| panic!("{error}"));
    let begin = Instant::now();
    let output = Command::new(command).current_dir(folder()).args(["check", "-f", ".", "-f", "base"]).output().unwrap();
    let took = begin.elapsed();
    let said = String::from_utf8_lossy(&output.stdout);
    let count = said.lines().filter(|line| line.contains(": error[") || line.contains(": warning[")).count();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(count >= 100, "only {count} findings\n{said}");
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    let last = String::from_utf8_lossy(&output.stderr);
    assert!(last.contains(" errors, ") && last.contains(" files"), "{last}");
}

/// Texts that are hardly text, each with a part of what is said about it.
#[test]
fn whatever_a_file_holds_it_is_said_plainly() {
    let utf16: Vec<u8> = "\u{feff}kind: A\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let previous = format!("*a{}", level - 1);
        aliases += &format!("a{level}: &a{level} [{}]\n", [previous.as_str(); 10].join(", "));
    }
    let deep: String = (0..200).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    let cases: [(&str, &[u8], &str); 12] = [
        ("utf16.yaml", &utf16, "line 1: error[syntax]"),
        ("latin1.yaml", b"kind: A\nname: caf\xe9\n", "line 2: error[syntax]"),
        ("binary.yaml", b"\x7fELF\x02\x01\x01\x00\x00 some more text", "line 1: error[syntax]"),
        ("empty.yaml", b"", "line 1: warning[empty-file]"),
        ("blank.yaml", b"\n \n", "line 1: warning[empty-file]"),
        ("aliases.yaml", aliases.as_bytes(), "error[syntax]"),
        ("deep.yaml", deep.as_bytes(), "error[syntax]"),
        ("brackets.yaml", &[b'['; 100_000], "error[syntax]"),
        ("comma.json", b"{\"kind\": \"A\",\n \"apiVersion\": \"v1\",}\n", "line 2: error[syntax]"),
        ("quotes.json", b"{'kind': 'A'}\n", "line 1: error[syntax]"),
        ("cut.json", b"{\"kind\": \"A\"", "line 1: error[syntax]"),
        ("windows.yaml", b"apiVersion: v1\r\nkind: ConfigMap\r\n\tmetadata:\r\n", "line 3: error[syntax]"),
    ];
    for (name, text, expected) in cases {
        let begin = Instant::now();
        let found = findings(&[(name, text)], name);
        assert!(found.iter().any(|(_, found)| found.contains(expected)), "{name}: {found:?}");
        assert!(begin.elapsed() < Duration::from_secs(1), "{name}: {:?}", begin.elapsed());
    }
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let base = fs::read_to_string(folder().join("base/services.yaml")).unwrap();
    let windows = format!("\u{feff}{}", base.replace('\n', "\r\n"));
    assert_eq!(findings(&[("f", windows.as_bytes())], "f"), findings(&[("f", base.as_bytes())], "f"));
}
