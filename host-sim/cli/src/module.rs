//! The compiled filter: the one inside the command, or a file.

use crate::failure::Failure;
use host_abi::CompileError;
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

/// The module, compiled for this machine.
pub(crate) fn compiled(file: &Option<PathBuf>) -> Result<host_abi::Module, Failure> {
    compiled_by(file, host_abi::Module::compile)
}

/// The module for a few questions: compiled in less time, slower to run.
pub(crate) fn compiled_quickly(file: &Option<PathBuf>) -> Result<host_abi::Module, Failure> {
    compiled_by(file, host_abi::Module::compile_quickly)
}

fn compiled_by(
    file: &Option<PathBuf>,
    compile: impl FnOnce(&[u8]) -> Result<host_abi::Module, CompileError>,
) -> Result<host_abi::Module, Failure> {
    let bytes = bytes(file)?;
    compile(&bytes).map_err(|error| {
        let name = file
            .as_deref()
            .map_or_else(|| "the filter inside this command".to_owned(), |path| path.display().to_string());
        Failure::Usage(format!("{name}: {error}"))
    })
}
