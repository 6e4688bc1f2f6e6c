//! A compiled filter. Compiling is slow (a second for a megabyte), so it is done once and shared among VMs and threads; what
//! a VM could not run is refused here, with a reason, and not at the first request.

use crate::hostcalls;
use wasmtime::{Config, Engine, ExternType};

/// Compiled wasm, cheap to clone and to share among threads.
#[derive(Clone)]
pub struct Module {
    pub(crate) engine: Engine,
    pub(crate) code: wasmtime::Module,
    pub(crate) epochs_per_callback: Option<u64>,
}

/// Why a file cannot be run as a filter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The bytes are no valid wasm, or use something the engine does not offer.
    #[error("not a wasm module this host can run: {0}")]
    Invalid(String),
    /// The guest needs a function that Proxy-Wasm does not have.
    #[error("the module imports {module}.{name}, which this host does not offer")]
    UnknownImport {
        /// Import module, `env` or a WASI name.
        module: String,
        /// Function or other item.
        name: String,
    },
    /// Neither `proxy_abi_version_0_2_0` nor `proxy_abi_version_0_2_1`.
    #[error("the module exports no proxy_abi_version_0_2_0 or _0_2_1: not a Proxy-Wasm filter, or of another version")]
    NoAbiMarker,
    /// The host could hand no bytes to the guest.
    #[error("the module exports neither proxy_on_memory_allocate nor malloc")]
    NoAllocator,
    /// There is no memory to exchange bytes through.
    #[error("the module exports no memory")]
    NoMemory,
}

impl Module {
    /// Compiles wasm bytes. A callback may then run for ever, as in Envoy; see [`Module::compile_interruptible`].
    pub fn compile(wasm: &[u8]) -> Result<Self, CompileError> {
        Module::build(wasm, None)
    }

    /// Compiles so that a callback is stopped with a trap when [`Module::advance_epoch`] was called `epochs` times since it
    /// began. Costs a little speed in every loop.
    pub fn compile_interruptible(wasm: &[u8], epochs: u64) -> Result<Self, CompileError> {
        Module::build(wasm, Some(epochs))
    }

    /// Lets one epoch pass for all VMs of this module; callable from any thread, for example by a timer.
    pub fn advance_epoch(&self) {
        self.engine.increment_epoch();
    }

    /// The machine code of the module, for [`Module::from_code`].
    ///
    /// # Errors
    ///
    /// The engine cannot write it.
    pub fn code(&self) -> Result<Vec<u8>, CompileError> {
        self.code.serialize().map_err(invalid)
    }

    /// A module that was compiled before, as [`Module::compile`] would return it.
    ///
    /// # Safety
    ///
    /// The bytes are what [`Module::code`] returned, without a change: they are run as they are. Only that they come from
    /// the same version and settings of the engine, for this processor, is looked at.
    ///
    /// # Errors
    ///
    /// They come from others.
    pub unsafe fn from_code(code: &[u8]) -> Result<Self, CompileError> {
        let engine = engine(false)?;
        // SAFETY: that is what the caller promises.
        let code = unsafe { wasmtime::Module::deserialize(&engine, code) }.map_err(invalid)?;
        Module::checked(engine, code, None)
    }

    fn build(wasm: &[u8], epochs: Option<u64>) -> Result<Self, CompileError> {
        let engine = engine(epochs.is_some())?;
        let code = wasmtime::Module::from_binary(&engine, wasm).map_err(invalid)?;
        Module::checked(engine, code, epochs)
    }

    fn checked(engine: Engine, code: wasmtime::Module, epochs: Option<u64>) -> Result<Self, CompileError> {
        for import in code.imports() {
            let known =
                matches!(import.ty(), ExternType::Func(_)) && hostcalls::is_known(import.module(), import.name());
            if !known {
                let (module, name) = (import.module().to_owned(), import.name().to_owned());
                return Err(CompileError::UnknownImport { module, name });
            }
        }
        let func = |name| matches!(code.get_export(name), Some(ExternType::Func(_)));
        if !func("proxy_abi_version_0_2_0") && !func("proxy_abi_version_0_2_1") {
            return Err(CompileError::NoAbiMarker);
        }
        if !func("proxy_on_memory_allocate") && !func("malloc") {
            return Err(CompileError::NoAllocator);
        }
        if !matches!(code.get_export("memory"), Some(ExternType::Memory(_))) {
            return Err(CompileError::NoMemory);
        }
        Ok(Module { engine, code, epochs_per_callback: epochs })
    }
}

fn engine(is_interruptible: bool) -> Result<Engine, CompileError> {
    let mut config = Config::new();
    // The same run gives the same bits on every machine.
    config.cranelift_nan_canonicalization(true);
    config.epoch_interruption(is_interruptible);
    Engine::new(&config).map_err(invalid)
}

fn invalid(error: wasmtime::Error) -> CompileError {
    CompileError::Invalid(format!("{error:#}"))
}
