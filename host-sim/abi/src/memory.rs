//! Crossing into the guest's memory. Every read is a checked slice; every result is written into memory that the guest's
//! own allocator hands out.

use crate::host::Host;
use crate::state::State;
use crate::status::{Fault, Status};
use wasmtime::Caller;

/// One hostcall under way.
pub(crate) struct Call<'a, H: Host> {
    caller: Caller<'a, State<H>>,
}

/// The bytes at a guest address.
pub(crate) fn read(memory: &[u8], at: u32, len: u32) -> Result<&[u8], Status> {
    if len == 0 {
        return Ok(&[]);
    }
    memory.get(at as usize..).and_then(|rest| rest.get(..len as usize)).ok_or(Status::InvalidMemoryAccess)
}

/// Writes bytes to a guest address.
pub(crate) fn write(memory: &mut [u8], at: u32, bytes: &[u8]) -> Result<(), Status> {
    let place = memory.get_mut(at as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
    place.ok_or(Status::InvalidMemoryAccess)?.copy_from_slice(bytes);
    Ok(())
}

impl<'a, H: Host> Call<'a, H> {
    pub(crate) fn new(caller: Caller<'a, State<H>>) -> Self {
        Call { caller }
    }

    pub(crate) fn state(&mut self) -> &mut State<H> {
        self.caller.data_mut()
    }

    /// The guest's memory beside the state. Fails only while a module's start function runs.
    pub(crate) fn split(&mut self) -> Result<(&mut [u8], &mut State<H>), Status> {
        let memory = self.caller.data().guest.as_ref().map(|guest| guest.memory).ok_or(Status::InternalFailure)?;
        Ok(memory.data_and_store_mut(&mut self.caller))
    }

    /// Writes a little-endian number for the guest.
    pub(crate) fn put<const SIZE: usize>(&mut self, at: u32, number: [u8; SIZE]) -> Result<(), Status> {
        write(self.split()?.0, at, &number)
    }

    /// Hands the guest `len` bytes: allocates there, lets `fill` write them, and stores address and length. No bytes are
    /// handed over as a null address, as Envoy does.
    pub(crate) fn give(
        &mut self,
        (data_out, len_out): (u32, u32),
        len: usize,
        fill: impl FnOnce(&mut State<H>, &mut [u8]) -> Result<(), Status>,
    ) -> Result<(), Fault> {
        let mut at = 0;
        let size = u32::try_from(len).map_err(|_| Status::InvalidMemoryAccess)?;
        if size > 0 {
            at = self.allocate(size)?;
            let (memory, state) = self.split()?;
            let place = memory.get_mut(at as usize..).and_then(|rest| rest.get_mut(..len));
            fill(state, place.ok_or(Status::InvalidMemoryAccess)?)?;
        }
        self.put(data_out, at.to_le_bytes())?;
        self.put(len_out, size.to_le_bytes())?;
        Ok(())
    }

    /// Hands the guest a copy of these bytes.
    pub(crate) fn give_bytes(&mut self, out: (u32, u32), bytes: &[u8]) -> Result<(), Fault> {
        self.give(out, bytes.len(), |_, place| {
            place.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn allocate(&mut self, size: u32) -> Result<u32, Fault> {
        let guest = self.caller.data().guest.as_ref();
        let allocate = guest.map(|guest| guest.allocate.clone()).ok_or(Status::InternalFailure)?;
        match allocate.call(&mut self.caller, size) {
            Ok(0) => Err(Status::InvalidMemoryAccess.into()),
            Ok(at) => Ok(at),
            Err(trap) => Err(Fault::Trap(trap)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_outside_the_memory_are_a_status() {
        let mut memory = [0; 8];
        assert_eq!(read(&memory, 4, 4).unwrap(), &[0; 4]);
        assert_eq!(read(&memory, 5, 4), Err(Status::InvalidMemoryAccess));
        assert_eq!(read(&memory, u32::MAX, u32::MAX), Err(Status::InvalidMemoryAccess));
        assert_eq!(read(&memory, u32::MAX, 0).unwrap(), &[0; 0]);
        assert_eq!(write(&mut memory, 6, &[1; 3]), Err(Status::InvalidMemoryAccess));
        assert_eq!(write(&mut memory, 6, &[1; 2]), Ok(()));
    }
}
