//! Notices that manifests changed, by looking.
//!
//! Looking works where notifications do not: a ConfigMap is swapped behind a link, an editor writes a new file under
//! the old name, a network file system tells nobody.

use crate::input;
use std::path::PathBuf;
use std::time::SystemTime;

/// What a file looked like: name, size, time of change. `None` for one that could not be looked at.
type Look = Vec<(PathBuf, Option<(u64, SystemTime)>)>;

pub(crate) struct Watch {
    paths: Vec<PathBuf>,
    recursive: bool,
    /// What was last acted on.
    known: Look,
    /// What was seen last time.
    last: Look,
}

impl Watch {
    pub(crate) fn new(paths: &[PathBuf], recursive: bool) -> Self {
        let known = look(paths, recursive);
        Self { paths: paths.to_vec(), recursive, last: known.clone(), known }
    }

    /// Whether the files changed since this last said so, and have come to rest: a file is often written in parts.
    pub(crate) fn has_changed(&mut self) -> bool {
        let now = look(&self.paths, self.recursive);
        let at_rest = now == self.last;
        self.last = now;
        if at_rest && self.last != self.known {
            self.known.clone_from(&self.last);
            return true;
        }
        false
    }
}

fn look(paths: &[PathBuf], recursive: bool) -> Look {
    // Standard input is read once; a directory that is away for a moment is looked at again next time.
    let files = paths.iter().filter(|path| path.as_os_str() != "-").flat_map(|path| input::named(path, recursive));
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    };
    files.map(|file| (file.clone(), stamp(&file))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_reported_once_and_only_when_the_files_are_at_rest() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, "1").unwrap();
        let mut watch = Watch::new(&[folder.path().to_owned()], false);
        assert!(!watch.has_changed());
        std::fs::write(&file, "12").unwrap();
        assert!(!watch.has_changed(), "just seen");
        std::fs::write(&file, "123").unwrap();
        assert!(!watch.has_changed(), "still being written");
        assert!(watch.has_changed());
        assert!(!watch.has_changed(), "said once");
        std::fs::write(folder.path().join("b.yml"), "").unwrap();
        watch.has_changed();
        assert!(watch.has_changed(), "a new file");
        std::os::unix::fs::symlink("nowhere", folder.path().join("c.yaml")).unwrap();
        watch.has_changed();
        assert!(watch.has_changed(), "a link to nowhere");
        std::fs::write(&file, "1234").unwrap();
        watch.has_changed();
        assert!(watch.has_changed(), "what is beside it");
        std::fs::remove_file(&file).unwrap();
        watch.has_changed();
        assert!(watch.has_changed(), "a file less");
    }
}
