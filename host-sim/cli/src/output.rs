//! `-o`: the name of a format is a format on standard output, anything else is a file.

use crate::failure::Failure;
use crate::say;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Where a result goes, and in which form.
pub(crate) struct Output {
    format: String,
    file: Option<PathBuf>,
}

impl Output {
    /// `formats`: the names that stand for a format here, the first for files whose ending says nothing.
    pub(crate) fn new(text: &str, formats: &[&str]) -> Result<Self, Failure> {
        if formats.contains(&text) {
            return Ok(Self { format: text.to_owned(), file: None });
        }
        if ["text", "json", "yaml"].contains(&text) {
            return Err(Failure::Usage(format!("-o {text}: the formats here are {}", formats.join(" and "))));
        }
        let file = PathBuf::from(text);
        // What is to be written may take long to make, so it is said before.
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
            return Err(Failure::Usage(format!("-o {text}: there is no directory {}", folder.display())));
        }
        let ending = file
            .extension()
            .and_then(|ending| ending.to_str())
            .map(|ending| if ending == "yml" { "yaml" } else { ending });
        let format =
            formats.iter().find(|format| Some(**format) == ending).or(formats.first()).copied().unwrap_or_default();
        Ok(Self { format: format.to_owned(), file: Some(file) })
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == "json"
    }

    /// The name of the form.
    pub(crate) fn format(&self) -> &str {
        &self.format
    }

    /// The file, if it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// As [`Output::write`], for a text with colours: they are kept on a terminal only.
    pub(crate) fn write_styled(&self, text: &str) -> Result<(), Failure> {
        match &self.file {
            None => to_stdout(anstream::AutoStream::auto(std::io::stdout().lock()), text),
            Some(_) => self.write(&anstream::adapter::strip_str(text).to_string()),
        }
    }

    /// Writes to standard output, or to the file: whole or not at all.
    pub(crate) fn write(&self, text: &str) -> Result<(), Failure> {
        match &self.file {
            None => to_stdout(std::io::stdout().lock(), text),
            Some(path) => to_file(path, text.as_bytes()),
        }
    }
}

/// Writes a file: whole or not at all.
pub(crate) fn to_file(path: &Path, content: &[u8]) -> Result<(), Failure> {
    // A pipe or a device is written to, never replaced.
    if std::fs::metadata(path).is_ok_and(|known| !known.is_file()) {
        return std::fs::write(path, content).map_err(|error| Failure::file(path, error));
    }
    // Behind a link stands the file that is meant.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let part = path.with_added_extension(format!("{}.part", std::process::id()));
    std::fs::write(&part, content).and_then(|()| std::fs::rename(&part, path)).map_err(|error| {
        // What was begun is of no use to anybody.
        let _ = std::fs::remove_file(&part);
        Failure::file(path, error)
    })?;
    say::note(&format!("wrote {}", path.display()));
    Ok(())
}

/// Writes to standard output; a reader that went away is no failure.
pub(crate) fn to_stdout(mut stdout: impl Write, text: &str) -> Result<(), Failure> {
    match stdout.write_all(text.as_bytes()) {
        // Whoever reads may stop reading.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Failed(error.to_string())),
        _ => Ok(()),
    }
}
