//! The part of WASI preview 1 that Envoy gives a filter: time, chance, environment, and standard output as log lines. There
//! are no files. Results are WASI's errno numbers, not Proxy-Wasm's statuses.

use crate::host::Host;
use crate::memory::{Call, read, write};
use crate::state::State;
use crate::status::Status;
use crate::types::LogLevel;
use wasmtime::{Caller, Linker};

const SUCCESS: u32 = 0;
const BADF: u32 = 8;
const FAULT: u32 = 21;
const INVAL: u32 = 28;
const NOSYS: u32 = 52;
const NOTCAPABLE: u32 = 76;
/// Envoy's limit on one draw.
const RANDOM_BYTES_MAX: u32 = 64 * 1024;

/// All that is offered; a test holds this against the linker.
pub(super) const NAMES: &[&str] = &[
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_close",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_read",
    "fd_seek",
    "fd_write",
    "path_open",
    "poll_oneoff",
    "proc_exit",
    "random_get",
    "sched_yield",
];

pub(super) fn link<H: Host>(linker: &mut Linker<State<H>>, module: &str) -> wasmtime::Result<()> {
    type C<'a, H> = Caller<'a, State<H>>;
    linker.func_wrap(module, "args_get", |_: C<'_, H>, _: u32, _: u32| SUCCESS)?;
    linker.func_wrap(module, "args_sizes_get", |c: C<'_, H>, count: u32, size: u32| {
        errno(zeros(&mut Call::new(c), &[(count, 4), (size, 4)]))
    })?;
    linker.func_wrap(module, "clock_res_get", |c: C<'_, H>, _: u32, out: u32| {
        errno(Call::new(c).put(out, 1u64.to_le_bytes()))
    })?;
    linker.func_wrap(module, "clock_time_get", |c: C<'_, H>, id: u32, _: u64, out: u32| {
        clock(&mut Call::new(c), id, out)
    })?;
    linker.func_wrap(module, "environ_get", |c: C<'_, H>, list: u32, text: u32| {
        errno(environ(&mut Call::new(c), list, text))
    })?;
    linker.func_wrap(module, "environ_sizes_get", |c: C<'_, H>, count: u32, size: u32| {
        errno(environ_sizes(&mut Call::new(c), count, size))
    })?;
    linker.func_wrap(module, "fd_close", |_: C<'_, H>, _: u32| SUCCESS)?;
    linker.func_wrap(module, "fd_fdstat_get", |c: C<'_, H>, fd: u32, out: u32| match fd {
        1 | 2 => errno(zeros(&mut Call::new(c), &[(out, 24)])),
        _ => BADF,
    })?;
    linker.func_wrap(module, "fd_fdstat_set_flags", |_: C<'_, H>, _: u32, _: u32| SUCCESS)?;
    linker.func_wrap(module, "fd_prestat_dir_name", |_: C<'_, H>, _: u32, _: u32, _: u32| BADF)?;
    linker.func_wrap(module, "fd_prestat_get", |_: C<'_, H>, _: u32, _: u32| BADF)?;
    linker.func_wrap(module, "fd_read", |_: C<'_, H>, _: u32, _: u32, _: u32, _: u32| NOSYS)?;
    linker.func_wrap(module, "fd_seek", |_: C<'_, H>, _: u32, _: u64, _: u32, _: u32| NOSYS)?;
    linker.func_wrap(module, "fd_write", |c: C<'_, H>, fd: u32, parts: u32, count: u32, out: u32| match fd {
        1 => errno(log_parts(&mut Call::new(c), LogLevel::Info, parts, count, out)),
        2 => errno(log_parts(&mut Call::new(c), LogLevel::Error, parts, count, out)),
        _ => BADF,
    })?;
    linker.func_wrap(
        module,
        "path_open",
        |_: C<'_, H>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u64, _: u64, _: u32, _: u32| NOTCAPABLE,
    )?;
    linker.func_wrap(module, "poll_oneoff", |_: C<'_, H>, _: u32, _: u32, _: u32, _: u32| NOSYS)?;
    linker.func_wrap(module, "proc_exit", |_: C<'_, H>, code: u32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::msg(format!("the guest called proc_exit({code})")))
    })?;
    linker.func_wrap(module, "random_get", |c: C<'_, H>, at: u32, len: u32| match len {
        0..=RANDOM_BYTES_MAX => errno(random(&mut Call::new(c), at, len)),
        _ => INVAL,
    })?;
    linker.func_wrap(module, "sched_yield", |_: C<'_, H>| SUCCESS)?;
    Ok(())
}

fn errno(result: Result<(), Status>) -> u32 {
    if result.is_ok() { SUCCESS } else { FAULT }
}

fn zeros<H: Host>(call: &mut Call<'_, H>, places: &[(u32, usize)]) -> Result<(), Status> {
    let (memory, _) = call.split()?;
    for &(at, len) in places {
        write(memory, at, [0; 24].get(..len).unwrap_or_default())?;
    }
    Ok(())
}

fn clock<H: Host>(call: &mut Call<'_, H>, id: u32, out: u32) -> u32 {
    let now = match id {
        0 => call.state().host.realtime_ns(),
        1 => call.state().host.monotonic_ns(),
        _ => return NOSYS,
    };
    errno(call.put(out, now.to_le_bytes()))
}

fn random<H: Host>(call: &mut Call<'_, H>, at: u32, len: u32) -> Result<(), Status> {
    let (memory, state) = call.split()?;
    let place = memory.get_mut(at as usize..).and_then(|rest| rest.get_mut(..len as usize));
    state.host.fill(place.ok_or(Status::InvalidMemoryAccess)?);
    Ok(())
}

fn environ_sizes<H: Host>(call: &mut Call<'_, H>, count: u32, size: u32) -> Result<(), Status> {
    let all = &call.state().plugin.environment;
    let bytes: usize = all.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let number = all.len() as u32;
    call.put(count, number.to_le_bytes())?;
    call.put(size, (bytes as u32).to_le_bytes())
}

fn environ<H: Host>(call: &mut Call<'_, H>, list: u32, text: u32) -> Result<(), Status> {
    let (memory, state) = call.split()?;
    let (mut list, mut text) = (list, text);
    for (name, value) in &state.plugin.environment {
        let line = format!("{name}={value}\0");
        write(memory, list, &text.to_le_bytes())?;
        write(memory, text, line.as_bytes())?;
        list = list.saturating_add(4);
        text = text.saturating_add(line.len() as u32);
    }
    Ok(())
}

/// One log line of several parts; a line break at its end is dropped.
fn log_parts<H: Host>(call: &mut Call<'_, H>, level: LogLevel, parts: u32, count: u32, out: u32) -> Result<(), Status> {
    let (memory, state) = call.split()?;
    let list = read(memory, parts, count.checked_mul(8).ok_or(Status::InvalidMemoryAccess)?)?;
    let mut line = Vec::new();
    for part in list.chunks_exact(8) {
        let Some((at, len)) = part.split_first_chunk::<4>() else { continue };
        let len = len.first_chunk::<4>().map_or(0, |len| u32::from_le_bytes(*len));
        let bytes = read(memory, u32::from_le_bytes(*at), len)?;
        if line.len() + bytes.len() > memory.len() {
            return Err(Status::InvalidMemoryAccess);
        }
        line.extend_from_slice(bytes);
    }
    let text = String::from_utf8_lossy(&line);
    state.log(level, text.trim_end_matches('\n'));
    call.put(out, (line.len() as u32).to_le_bytes())
}
