//! What a hostcall answers. The numbers are those of Proxy-Wasm ABI 0.2.1. A guest written with the Rust SDK panics on a
//! number it does not expect for the call, so each hostcall names only those that Envoy gives in the same case.

/// The result of a hostcall as the guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// No such header, property, metric, queue or function.
    NotFound = 1,
    /// A value out of range, or a map that is closed in this phase.
    BadArgument = 2,
    /// Bytes that are not a well-formed list of pairs.
    ParseFailure = 4,
    /// Guest addresses outside the guest's memory.
    InvalidMemoryAccess = 6,
    /// The queue holds nothing.
    Empty = 7,
    /// Another writer was first.
    CasMismatch = 8,
    /// The host could not do it.
    InternalFailure = 10,
    /// The host does not offer it.
    Unimplemented = 12,
}

/// Why a hostcall ended early: with a status for the guest, or because a nested call into the guest trapped.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The guest gets this number and goes on.
    Status(Status),
    /// The guest's own allocator trapped; the trap goes up to the callback.
    Trap(wasmtime::Error),
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        Fault::Status(status)
    }
}

/// Turns the result of a hostcall into what wasmtime hands to the guest.
pub(crate) fn to_guest(result: Result<(), Fault>) -> wasmtime::Result<u32> {
    match result {
        Ok(()) => Ok(Status::Ok as u32),
        Err(Fault::Status(status)) => Ok(status as u32),
        Err(Fault::Trap(trap)) => Err(trap),
    }
}
