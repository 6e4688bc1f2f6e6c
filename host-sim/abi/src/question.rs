//! Exports beside Proxy-Wasm's callbacks: tools may ask a filter what no request asks it.
//!
//! Such an export takes address and length of a question, which stands in memory from the guest's allocator and belongs to
//! the guest from then on, and returns the address of its answer in the upper half of a u64 and the length in the lower.
//! The answer stands there until the next call.

use crate::host::Host;
use crate::instance;
use crate::memory;
use crate::state::Active;
use crate::vm::Vm;
use wasmtime::TypedFunc;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The module does not export the function, or exports something else under its name.
    #[error("the module exports no function `{0}` that answers questions")]
    NoSuchFunction(String),
    /// The guest trapped earlier; it answers nothing any more.
    #[error("the filter has crashed")]
    Dead,
    /// The guest trapped over this question, or answered with an address outside of its memory.
    #[error("the filter crashed over a question: {0}")]
    Trapped(String),
}

impl<H: Host> Vm<H> {
    /// Asks the export `function`. The guest may make hostcalls meanwhile; it speaks for no stream.
    ///
    /// # Errors
    ///
    /// There is no such export, or the guest is dead or dies over the question.
    pub fn ask_guest(&mut self, function: &str, question: &[u8]) -> Result<Vec<u8>, AskError> {
        if self.is_dead() {
            return Err(AskError::Dead);
        }
        let answered = self.answer(function, question);
        if let Err(AskError::Trapped(reason)) = &answered {
            self.die(None, "over a question", reason);
        }
        answered
    }

    fn answer(&mut self, function: &str, question: &[u8]) -> Result<Vec<u8>, AskError> {
        let trapped = |error: wasmtime::Error| AskError::Trapped(format!("{error:#}"));
        let outside = || AskError::Trapped("it pointed outside of its memory".to_owned());
        let (module, store, exports, root) = self.parts();
        let no_such_function = |_| AskError::NoSuchFunction(function.to_owned());
        let asked: TypedFunc<(u32, u32), u64> =
            exports.instance.get_typed_func(&mut *store, function).map_err(no_such_function)?;
        let guest = store.data().guest.as_ref().ok_or(AskError::Dead)?;
        let (guest_memory, allocate) = (guest.memory, guest.allocate.clone());
        let size = u32::try_from(question.len()).map_err(|_| outside())?;
        let at = allocate.call(&mut *store, size).map_err(trapped)?;
        memory::write(guest_memory.data_mut(&mut *store), at, question).map_err(|_| outside())?;
        let found = instance::call(module, store, Active::Root(root), &Some(asked), (at, size), 0).map_err(trapped)?;
        let [at, size] = [found >> 32, found & u64::from(u32::MAX)].map(|half| u32::try_from(half).unwrap_or_default());
        memory::read(guest_memory.data(&*store), at, size).map(<[u8]>::to_vec).map_err(|_| outside())
    }
}
