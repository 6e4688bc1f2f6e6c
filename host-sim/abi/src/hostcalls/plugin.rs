//! Calls about the plugin as a whole: log, time, tick, the effective context, and the foreign function that Envoy knows.

use crate::host::Host;
use crate::memory::{Call, read};
use crate::state::{Active, Effect};
use crate::status::{Fault, Status};
use crate::types::LogLevel;

pub(super) fn log<H: Host>(call: &mut Call<'_, H>, level: u32, text: u32, len: u32) -> Result<(), Fault> {
    let level = LogLevel::try_from(level)?;
    let (memory, state) = call.split()?;
    if level >= state.host.level() || state.lines.is_some() {
        let text = read(memory, text, len)?;
        state.log(level, &String::from_utf8_lossy(text));
    }
    Ok(())
}

pub(super) fn get_log_level<H: Host>(call: &mut Call<'_, H>, level_out: u32) -> Result<(), Fault> {
    let level = call.state().host.level() as u32;
    Ok(call.put(level_out, level.to_le_bytes())?)
}

pub(super) fn current_time<H: Host>(call: &mut Call<'_, H>, time_out: u32) -> Result<(), Fault> {
    let now = call.state().host.realtime_ns();
    Ok(call.put(time_out, now.to_le_bytes())?)
}

pub(super) fn set_tick_period<H: Host>(call: &mut Call<'_, H>, period_ms: u32) -> Result<(), Fault> {
    let state = call.state();
    let root = state.root_id()?;
    let now = state.host.monotonic_ns();
    state.roots.set_tick(root, u64::from(period_ms) * 1_000_000, now);
    Ok(())
}

/// A context that is gone, or of an instance before a reload, is a bad argument.
pub(super) fn set_effective_context<H: Host>(call: &mut Call<'_, H>, context: u32) -> Result<(), Fault> {
    let state = call.state();
    let stream = state.streams.find(context).and_then(|id| state.streams.get(id));
    state.active = match stream {
        Some(stream) if stream.generation == state.generation => Active::Stream(stream.id),
        _ if state.roots.contains(context) => Active::Root(context),
        _ => return Err(Status::BadArgument.into()),
    };
    Ok(())
}

/// Only a plugin context that was asked to go and asked for time can be done.
pub(super) fn done<H: Host>(call: &mut Call<'_, H>) -> Result<(), Fault> {
    let state = call.state();
    let Active::Root(id) = state.active else { return Err(Status::NotFound.into()) };
    match state.roots.get_mut(id) {
        Some(root) if root.done_pending => state.effects.push_back(Effect::RootDone(id)),
        _ => return Err(Status::NotFound.into()),
    }
    Ok(())
}

pub(super) fn get_status<H: Host>(
    call: &mut Call<'_, H>,
    code_out: u32,
    text_out: u32,
    len_out: u32,
) -> Result<(), Fault> {
    let (code, text) = call.state().status;
    call.put(code_out, code.to_le_bytes())?;
    call.give_bytes((text_out, len_out), text.as_bytes())
}

pub(super) fn call_foreign_function<H: Host>(
    call: &mut Call<'_, H>,
    name: u32,
    name_len: u32,
    _args: u32,
    _args_len: u32,
    data_out: u32,
    len_out: u32,
) -> Result<(), Fault> {
    let (memory, state) = call.split()?;
    if read(memory, name, name_len)? != b"clear_route_cache" {
        return Err(Status::NotFound.into());
    }
    if let Some(stream) = state.stream_mut() {
        stream.route_cleared = true;
    }
    call.give_bytes((data_out, len_out), &[])
}
