//! The compiled filter: the one inside the command, or a file.

use crate::cache::Cache;
use crate::failure::Failure;
use std::borrow::Cow;
use std::path::PathBuf;

/// The release build of the filter this command was built with.
const INSIDE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/filter.wasm"));

/// The module's bytes: `--module FILE` before the one inside.
pub(crate) fn bytes(file: &Option<PathBuf>) -> Result<Cow<'static, [u8]>, Failure> {
    match file {
        Some(path) => {
            std::fs::read(path).map(Cow::Owned).map_err(|error| Failure::file(path, format!("--module: {error}")))
        }
        None => Ok(Cow::Borrowed(INSIDE)),
    }
}

/// The same, to be shipped: of a file, what Envoy would refuse at its start is refused here.
pub(crate) fn sound(file: &Option<PathBuf>) -> Result<Cow<'static, [u8]>, Failure> {
    if file.is_some() {
        compiled(file)?;
    }
    bytes(file)
}

/// The module, compiled for this machine.
pub(crate) fn compiled(file: &Option<PathBuf>) -> Result<host_abi::Module, Failure> {
    let bytes = bytes(file)?;
    host_abi::Module::compile(&bytes).map_err(|error| {
        let name = file
            .as_deref()
            .map_or_else(|| "the filter inside this command".to_owned(), |path| path.display().to_string());
        Failure::Usage(format!("{name}: {error}"))
    })
}

/// The same, and the one inside the command is compiled once only: what was compiled is kept in the user's cache.
pub(crate) fn compiled_once(file: &Option<PathBuf>) -> Result<host_abi::Module, Failure> {
    let cache = Cache::of_user(INSIDE).filter(|_| file.is_none());
    if let Some(code) = cache.as_ref().and_then(Cache::read) {
        // SAFETY: the cache returns only what `Module::code` gave and this user alone can have written.
        if let Ok(module) = unsafe { host_abi::Module::from_code(&code) } {
            return Ok(module);
        }
    }
    let module = compiled(file)?;
    if let (Some(cache), Ok(code)) = (cache, module.code()) {
        cache.write(&code);
    }
    Ok(module)
}
