//! `shunt render envoy --dynamic`: the folder of the files that a running Envoy watches.

use crate::deployment::Deployment;
use crate::failure::Failure;
use crate::output::Output;
use envoy_render::{BOOTSTRAP_FILE, DYNAMIC_FILES, Dynamic, Options, dynamic, is_ours};
use serde_json::Value;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Each file whole or not at all, in the order in which Envoy has to find them.
///
/// Envoy looks again at what is written again, also where it says the same: so it takes a listener that it refused because
/// one of the other files was not there.
pub(crate) fn write(folder: &Path, deployment: &Deployment, module: &[u8], options: &Options) -> Result<(), Failure> {
    let failed = |error| Failure::file(folder, error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let folder = utf8(std::fs::canonicalize(folder).map_err(failed)?)?;
    refuse_foreign(&folder)?;
    let read = |file: &str| -> Option<Value> { serde_json::from_slice(&std::fs::read(folder.join(file)).ok()?).ok() };
    let put = |file: &str, content: &Value| -> Result<(), Failure> {
        Output::new(&folder.join(file).to_string_lossy(), &["json"])?.write(&format!("{content}\n"))
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let Dynamic { bootstrap, files } =
        dynamic(&deployment.plan, &deployment.filter, module, options, &folder, read, now);
    files.iter().try_for_each(|(file, content)| put(file, content))?;
    // Nobody watches it, so it is written for the next start, and only where it says something new.
    if read(BOOTSTRAP_FILE).as_ref() == Some(&bootstrap) {
        return Ok(());
    }
    put(BOOTSTRAP_FILE, &bootstrap)
}

/// Whether the name can be that of the folder, before anything is made.
pub(crate) fn check(folder: &Path) -> Result<(), Failure> {
    let refused = |reason: &str| Err(Failure::Usage(format!("--dynamic {}: {reason}", folder.display())));
    if folder.as_os_str() == "-" {
        return refused("these are several files, which do not go to standard output; name a directory");
    }
    if std::fs::metadata(folder).is_ok_and(|known| !known.is_dir()) {
        return refused("this is no directory; name one, which is made if it is not there");
    }
    utf8(std::path::absolute(folder).map_err(|error| Failure::file(folder, error))?).map(|_| ())
}

/// The files name each other, as JSON.
fn utf8(folder: PathBuf) -> Result<PathBuf, Failure> {
    match folder.to_str() {
        Some(_) => Ok(folder),
        None => Err(Failure::Usage(format!(
            "--dynamic {}: this path is not UTF-8, so no JSON can name it; choose another one",
            folder.display()
        ))),
    }
}

/// Nobody else's file is overwritten. One that is no JSON at all may be what is left of ours, where the bootstrap is.
fn refuse_foreign(folder: &Path) -> Result<(), Failure> {
    let content = |file: &str| match std::fs::read(folder.join(file)) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        read => Some(read.ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok())),
    };
    let has_bootstrap = matches!(content(BOOTSTRAP_FILE), Some(Some(known)) if is_ours(BOOTSTRAP_FILE, &known));
    let is_foreign = |file: &&str| match content(file) {
        None => false,
        Some(None) => !has_bootstrap || folder.join(file).is_dir(),
        Some(Some(known)) => !is_ours(file, &known),
    };
    match DYNAMIC_FILES.into_iter().find(|file| is_foreign(file)) {
        None => Ok(()),
        Some(file) => Err(Failure::Failed(format!(
            "{}: this was not written by `shunt render envoy --dynamic`, and would be overwritten: move it away, or name another directory",
            folder.join(file).display()
        ))),
    }
}
