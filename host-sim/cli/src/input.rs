//! Reads manifests: files, directories, standard input.

use crate::failure::Failure;
use crate::say;
use istio_config::yaml::{self, Sources};
use istio_config::{Config, Diagnostic, Diagnostics, Severity};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Objects, where they stand, and what was found wrong so far.
#[derive(Default)]
pub(crate) struct Input {
    pub(crate) config: Config,
    pub(crate) diagnostics: Diagnostics,
    pub(crate) sources: Sources,
    /// How many files were read, or tried.
    pub(crate) files: usize,
}

/// A manifest that is longer is a mistake, and would be read into memory whole.
const FILE_SIZE_MAX: u64 = 64 << 20;

impl Input {
    /// Reads everything that `-f` names, in that order; a directory's files by name.
    pub(crate) fn read(paths: &[PathBuf], recursive: bool) -> Result<Self, Failure> {
        let mut input = Self::default();
        for path in paths {
            if path.as_os_str() == "-" {
                let text = contents(std::io::stdin().lock()).map_err(|error| Failure::file(path, error))?;
                input.add("<stdin>", &text);
            } else {
                input.add_files(path, recursive)?;
            }
        }
        if input.config.is_empty() && !input.diagnostics.has_errors() {
            input.report();
            let named: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
            return Err(Failure::Failed(format!("no Istio object in {}", named.join(", "))));
        }
        Ok(input)
    }

    /// Reads all that can be read of what `-f` names; a file that cannot be is a finding like any other. `Err` only for a
    /// name that stands for nothing.
    pub(crate) fn read_what_can_be(paths: &[PathBuf], recursive: bool) -> Result<Self, Failure> {
        let mut input = Self::default();
        for path in paths {
            if path.as_os_str() == "-" {
                let text = contents(std::io::stdin().lock());
                input.files = input.files.saturating_add(1);
                input.add_or_report("<stdin>", text);
                continue;
            }
            std::fs::metadata(path).map_err(|error| Failure::file(path, error))?;
            let mut files = vec![path.clone()];
            if path.is_dir() {
                files.clear();
                let (input, mut unlisted) = (&mut input, Vec::new());
                list(path, recursive, &mut files, &mut unlisted);
                unlisted
                    .into_iter()
                    .for_each(|(path, reason)| input.add_or_report(&path.display().to_string(), Err(reason)));
                files.sort();
                if files.is_empty() {
                    return Err(Failure::file(path, "no .yaml, .yml or .json file in this directory"));
                }
            }
            for file in files {
                input.files = input.files.saturating_add(1);
                input.add_or_report(&file.display().to_string(), text_of(&file));
            }
        }
        Ok(input)
    }

    fn add_or_report(&mut self, name: &str, text: Result<Vec<u8>, String>) {
        match text {
            Ok(text) => self.add(name, &text),
            Err(reason) => {
                yaml::report_unreadable(name, reason, &mut self.config, &mut self.sources, &mut self.diagnostics);
            }
        }
    }

    /// Adds a file, or the files of a directory.
    pub(crate) fn add_path(&mut self, path: &Path) -> Result<(), Failure> {
        self.add_files(path, false)
    }

    fn add_files(&mut self, path: &Path, recursive: bool) -> Result<(), Failure> {
        manifests(path, recursive)?.iter().try_for_each(|file| self.add_file(file))
    }

    fn add_file(&mut self, path: &Path) -> Result<(), Failure> {
        let text = text_of(path).map_err(|error| Failure::file(path, error))?;
        self.add(&path.display().to_string(), &text);
        Ok(())
    }

    /// Adds the documents of one text; what is not UTF-8 is a finding with its place.
    pub(crate) fn add(&mut self, name: &str, text: &[u8]) {
        yaml::read_bytes(name, text, &mut self.config, &mut self.sources, &mut self.diagnostics);
    }

    /// Prints every finding in the order of the files. `Err` when the configuration must not be served.
    pub(crate) fn accept(&self, strict: bool) -> Result<(), Failure> {
        self.report();
        if self.is_refused(strict) { Err(Failure::Found) } else { Ok(()) }
    }

    /// Prints every finding when the configuration must not be served, and none else.
    pub(crate) fn accept_quietly(&self, strict: bool) -> Result<(), Failure> {
        if self.is_refused(strict) { self.accept(strict) } else { Ok(()) }
    }

    fn is_refused(&self, strict: bool) -> bool {
        let limit = if strict { Severity::Warning } else { Severity::Error };
        self.diagnostics.iter().any(|found| found.severity >= limit)
    }

    /// Prints every finding; the worst there is.
    pub(crate) fn report(&self) -> Option<Severity> {
        report(self.diagnostics.iter(), &self.sources)
    }
}

/// Prints findings in the order of the files; the worst severity among them.
pub(crate) fn report<'d>(findings: impl Iterator<Item = &'d Diagnostic>, sources: &Sources) -> Option<Severity> {
    let mut findings: Vec<_> = findings.map(|found| (sources.locate(&found.object, &found.path), found)).collect();
    findings.sort_by_key(|(place, _)| *place);
    for (place, found) in &findings {
        let place = match place {
            Some((file, at)) => format!("{file}:{}:{}", at.line, at.column),
            None => found.object.to_string(),
        };
        say::finding(&place, &found.path, found.severity, found.code, &found.message, &found.help);
    }
    findings.iter().map(|(_, found)| found.severity).max()
}

/// A whole file, or standard input for `-`.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().lock().read_to_end(&mut text),
        false => std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut text)),
    };
    read.map_err(|error| Failure::file(path, error))?;
    Ok(text)
}

/// The text of a file, or why there is none.
fn text_of(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    if size > FILE_SIZE_MAX {
        return Err(format!("{size} bytes; a manifest has at most {FILE_SIZE_MAX}"));
    }
    contents(file)
}

fn contents(from: impl Read) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    from.take(FILE_SIZE_MAX + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if u64::try_from(text.len()).is_ok_and(|size| size > FILE_SIZE_MAX) {
        return Err(format!("a manifest has at most {FILE_SIZE_MAX} bytes"));
    }
    Ok(text)
}

/// Lists the manifests of a directory, and apart from them what cannot be read, with the reason. Links to directories are not
/// followed: they can lead in circles.
fn list(directory: &Path, recursive: bool, files: &mut Vec<PathBuf>, unlisted: &mut Vec<(PathBuf, String)>) {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return unlisted.push((directory.to_owned(), error.to_string())),
    };
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                unlisted.push((directory.to_owned(), error.to_string()));
                continue;
            }
        };
        // What is gone by now is not there.
        let Ok(own) = path.symlink_metadata() else { continue };
        match path.metadata() {
            Ok(found) if found.is_dir() => {
                if recursive && !own.is_symlink() && !is_of_kubelet(&path) {
                    list(&path, recursive, files, unlisted);
                }
            }
            _ if !is_manifest(&path) => {}
            Ok(found) if found.is_file() => files.push(path),
            _ if is_hidden(&path) => {}
            Ok(_) => unlisted.push((path, "not a regular file".to_owned())),
            Err(error) if own.is_symlink() && error.kind() == ErrorKind::NotFound => {
                unlisted.push((path, "the link leads nowhere".to_owned()));
            }
            Err(error) => unlisted.push((path, error.to_string())),
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// Where the files of a mounted ConfigMap are, to which the links beside it lead.
fn is_of_kubelet(directory: &Path) -> bool {
    directory.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."))
}

/// Editors keep their locks under such names.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// What a path stands for now, whether it can be read or not: for whoever waits for a change of it.
pub(crate) fn named(path: &Path, recursive: bool) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let (mut files, mut unlisted) = (Vec::new(), Vec::new());
    list(path, recursive, &mut files, &mut unlisted);
    files.extend(unlisted.into_iter().map(|(path, _)| path));
    files.sort();
    files
}

/// The files a path stands for: itself, or the manifests in a directory, sorted by name.
pub(crate) fn manifests(path: &Path, recursive: bool) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut files, mut unlisted) = (Vec::new(), Vec::new());
    list(path, recursive, &mut files, &mut unlisted);
    // Without it the others would say something else, and nobody would know.
    if let Some((path, reason)) = unlisted.into_iter().min() {
        return Err(Failure::file(&path, reason));
    }
    files.sort();
    if files.is_empty() {
        return Err(Failure::file(path, "no .yaml, .yml or .json file in this directory"));
    }
    Ok(files)
}
