//! The documents of the repository, and the fresh copy of its files that the commands of one run in.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a source tree without git holds beside its files.
const NOT_FILES: [&str; 3] = [".git", ".cache", "target"];

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace around this crate").to_owned()
}

/// The files of a fresh clone, relative to `root` and sorted: what git tracks, without what was deleted since; in a
/// source tree without git, everything that no build and no set-up made.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut files = tracked(root).unwrap_or_else(|| {
        let mut files = Vec::new();
        walk(root, Path::new(""), &mut files);
        files
    });
    files.retain(|file| root.join(file).is_file());
    files.sort();
    files
}

fn tracked(root: &Path) -> Option<Vec<PathBuf>> {
    if !root.join(".git").exists() {
        return None;
    }
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().ok()?;
    let names = String::from_utf8(output.stdout).ok()?;
    let files: Vec<_> = names.split_terminator('\0').map(PathBuf::from).collect();
    (output.status.success() && !files.is_empty()).then_some(files)
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in root.join(folder).read_dir().into_iter().flatten().flatten() {
        let path = folder.join(entry.file_name());
        match entry.file_type() {
            Ok(_) if NOT_FILES.iter().any(|name| path == Path::new(name)) => {}
            Ok(kind) if kind.is_dir() => walk(root, &path, files),
            Ok(kind) if kind.is_file() => files.push(path),
            _ => {}
        }
    }
}

/// Whether the commands of this file are run: `README.md`, `docs/*.md`, `examples/*/README.md`.
pub fn is_document(file: &Path) -> bool {
    let parts: Vec<_> = file.iter().filter_map(|part| part.to_str()).collect();
    match parts[..] {
        ["README.md"] | ["examples", _, "README.md"] => true,
        ["docs", name] => name.ends_with(".md"),
        _ => false,
    }
}

/// Copies the files to `to`.
///
/// # Errors
///
/// A file cannot be read or written.
pub fn copy(root: &Path, files: &[PathBuf], to: &Path) -> io::Result<()> {
    for file in files {
        let target = to.join(file);
        std::fs::create_dir_all(target.parent().unwrap_or(to))?;
        std::fs::copy(root.join(file), target)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{copy, files, is_document};
    use std::path::Path;

    #[test]
    fn documents_have_their_places() {
        for (file, expected) in [
            ("README.md", true),
            ("docs/sim.md", true),
            ("docs/data/sim.md", false),
            ("docs/table.txt", false),
            ("examples/hello/README.md", true),
            ("examples/hello/notes.md", false),
            ("tests/README.md", false),
            ("ARCHITECTURE.md", false),
        ] {
            assert_eq!(is_document(Path::new(file)), expected, "{file}");
        }
    }

    #[test]
    fn a_tree_without_git_is_taken_without_what_was_built() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for file in ["README.md", "docs/a.md", "target/x", ".cache/y", "tests/target/z"] {
            let path = from.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        let found = files(from.path());
        assert_eq!(found, ["README.md", "docs/a.md", "tests/target/z"].map(Path::new));
        copy(from.path(), &found, to.path()).unwrap();
        assert_eq!(files(to.path()), found);
        assert_eq!(std::fs::read_to_string(to.path().join("docs/a.md")).unwrap(), "docs/a.md");
    }
}
