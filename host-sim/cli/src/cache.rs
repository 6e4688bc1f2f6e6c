//! The compiled filter in the user's cache (`$XDG_CACHE_HOME/shunt`, `~/.cache/shunt`): compiling takes seconds, and
//! `shunt explain` is asked one question at a time.
//!
//! What is read is run as machine code. So it must stand in a directory of this user that nobody else can enter, in a file of
//! this user that nobody else can read or write, and be what was written, by its checksum. Whatever is missing or not so is
//! as if there were no cache: nothing is said, and the filter is compiled.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Files that are kept: one for each version of the command in use.
const KEPT: usize = 4;

/// A place for the machine code of one module.
pub(crate) struct Cache {
    directory: PathBuf,
    name: String,
    user: u32,
}

impl Cache {
    /// The place in the cache of the user; `None` where there is none, or it is not his alone.
    pub(crate) fn of_user(wasm: &[u8]) -> Option<Self> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
        Self::at(&base.join("shunt"), wasm)
    }

    fn at(directory: &Path, wasm: &[u8]) -> Option<Self> {
        // Where the user runs under another name than the process began with, nothing is trusted.
        let user = fs::metadata("/proc/self").ok()?.uid();
        // It may exist; its parent is made as any other directory.
        let _ = directory.parent().map(fs::create_dir_all);
        let _ = DirBuilder::new().mode(0o700).create(directory);
        let found = fs::symlink_metadata(directory).ok()?;
        let name = format!("filter-{}-{:016x}.code", env!("CARGO_PKG_VERSION"), checksum(wasm));
        let cache = Self { directory: directory.to_owned(), name, user };
        (found.is_dir() && cache.is_private(&found)).then_some(cache)
    }

    fn is_private(&self, found: &Metadata) -> bool {
        found.uid() == self.user && found.mode() & 0o077 == 0
    }

    /// What was written last.
    pub(crate) fn read(&self) -> Option<Vec<u8>> {
        let path = self.directory.join(&self.name);
        // Not through a link; the directory is private, so that it is still the same file when it is opened.
        fs::symlink_metadata(&path).ok().filter(Metadata::is_file)?;
        let mut file = File::open(&path).ok()?;
        file.metadata().ok().filter(|found| found.is_file() && self.is_private(found))?;
        let mut sum = [0; 8];
        let mut code = Vec::new();
        file.read_exact(&mut sum).ok()?;
        file.read_to_end(&mut code).ok()?;
        (u64::from_le_bytes(sum) == checksum(&code)).then_some(code)
    }

    /// Writes it, whole or not at all, and removes what has not been written for long.
    pub(crate) fn write(&self, code: &[u8]) {
        let part = self.directory.join(format!("{}.{}.part", self.name, std::process::id()));
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).and_then(|mut file| {
            file.write_all(&checksum(code).to_le_bytes())?;
            file.write_all(code)
        });
        if written.and_then(|()| fs::rename(&part, self.directory.join(&self.name))).is_err() {
            // What was begun is of no use to anybody.
            let _ = fs::remove_file(&part);
        }
        self.clean();
    }

    fn clean(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let mut files: Vec<(SystemTime, PathBuf)> = entries
            .flatten()
            .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"filter-"))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        let old = files.len().saturating_sub(KEPT);
        files.iter().take(old).for_each(|(_, path)| _ = fs::remove_file(path));
    }
}

/// Finds what a disk or a full file system has spoilt; against people the directory is closed.
fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("deep").join("shunt");
        let cache = Cache::at(&at, b"wasm").unwrap();
        assert_eq!(cache.read(), None);
        cache.write(b"code");
        assert_eq!(cache.read(), Some(b"code".to_vec()));
        assert_eq!(Cache::at(&at, b"other").unwrap().read(), None);
        for path in [&at, &at.join(&cache.name)] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o077, 0);
        }
    }

    #[test]
    fn what_others_could_have_written_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("shunt");
        let cache = Cache::at(&at, b"wasm").unwrap();
        cache.write(b"code");
        let file = at.join(&cache.name);
        mode(&file, 0o620);
        assert_eq!(cache.read(), None);
        mode(&file, 0o600);
        let aside = at.join("aside");
        fs::rename(&file, &aside).unwrap();
        std::os::unix::fs::symlink(&aside, &file).unwrap();
        assert_eq!(cache.read(), None);
        fs::rename(&aside, &file).unwrap();
        assert_eq!(cache.read(), Some(b"code".to_vec()));
        mode(&at, 0o750);
        assert!(Cache::at(&at, b"wasm").is_none());
    }

    #[test]
    fn what_was_spoilt_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("shunt").as_path(), b"wasm").unwrap();
        cache.write(b"code");
        let file = cache.directory.join(&cache.name);
        for spoilt in [&b""[..], b"1234567", b"12345678code"] {
            fs::write(&file, spoilt).unwrap();
            assert_eq!(cache.read(), None);
        }
    }

    #[test]
    fn old_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..9_u8 {
            Cache::at(folder.path().join("shunt").as_path(), &[number]).unwrap().write(b"code");
        }
        assert_eq!(fs::read_dir(folder.path().join("shunt")).unwrap().count(), KEPT);
    }
}
