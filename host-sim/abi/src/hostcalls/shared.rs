//! Shared data and queues, in the namespace of this plugin's `vm_id`.

use crate::host::Host;
use crate::memory::{Call, read};
use crate::status::Fault;

pub(super) fn get<H: Host>(
    call: &mut Call<'_, H>,
    key: u32,
    key_len: u32,
    data_out: u32,
    len_out: u32,
    cas_out: u32,
) -> Result<(), Fault> {
    let (memory, state) = call.split()?;
    let (value, cas) = state.plugin.shared.get(state.plugin.vm_id.as_bytes(), read(memory, key, key_len)?)?;
    call.give_bytes((data_out, len_out), &value)?;
    Ok(call.put(cas_out, cas.to_le_bytes())?)
}

pub(super) fn set<H: Host>(
    call: &mut Call<'_, H>,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
    cas: u32,
) -> Result<(), Fault> {
    let (memory, state) = call.split()?;
    let (key, value) = (read(memory, key, key_len)?, read(memory, value, value_len)?);
    Ok(state.plugin.shared.set(state.plugin.vm_id.as_bytes(), key, value, cas)?)
}

pub(super) fn register<H: Host>(call: &mut Call<'_, H>, name: u32, name_len: u32, id_out: u32) -> Result<(), Fault> {
    let (memory, state) = call.split()?;
    let root = state.root_id()?;
    let name = read(memory, name, name_len)?;
    let id = state.plugin.shared.register_queue(state.plugin.vm_id.as_bytes(), name, state.vm, root);
    Ok(call.put(id_out, id.to_le_bytes())?)
}

pub(super) fn resolve<H: Host>(
    call: &mut Call<'_, H>,
    vm: u32,
    vm_len: u32,
    name: u32,
    name_len: u32,
    id_out: u32,
) -> Result<(), Fault> {
    let (memory, state) = call.split()?;
    let (vm, name) = (read(memory, vm, vm_len)?, read(memory, name, name_len)?);
    let id = state.plugin.shared.resolve_queue(vm, name)?;
    Ok(call.put(id_out, id.to_le_bytes())?)
}

pub(super) fn dequeue<H: Host>(call: &mut Call<'_, H>, queue: u32, data_out: u32, len_out: u32) -> Result<(), Fault> {
    let item = call.state().plugin.shared.dequeue(queue)?;
    call.give_bytes((data_out, len_out), &item)
}

pub(super) fn enqueue<H: Host>(call: &mut Call<'_, H>, queue: u32, data: u32, len: u32) -> Result<(), Fault> {
    let (memory, state) = call.split()?;
    state.plugin.shared.enqueue(queue, read(memory, data, len)?)?;
    state.queued = true;
    Ok(())
}
