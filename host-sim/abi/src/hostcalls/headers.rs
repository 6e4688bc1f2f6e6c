//! Header maps. A map is open to the guest only while it can still change it; Envoy answers a closed map with an empty list
//! of pairs, with `BadArgument` to everything else, and with `NotFound` in `on_log`.

use crate::half::{Half, Progress};
use crate::headers::HeaderMap;
use crate::host::{Danger, Host};
use crate::memory::{Call, read};
use crate::pairs;
use crate::state::State;
use crate::status::{Fault, Status};
use crate::types::MapType;

/// The map as the guest may read it now.
fn readable<H: Host>(state: &State<H>, kind: MapType) -> Result<&HeaderMap, Status> {
    let stream = || state.stream().ok_or(Status::BadArgument);
    match kind {
        MapType::RequestHeaders => headers(&stream()?.request, stream()?.logging),
        MapType::ResponseHeaders => headers(&stream()?.response, stream()?.logging),
        MapType::RequestTrailers => trailers(&stream()?.request, stream()?.logging, false),
        MapType::ResponseTrailers => trailers(&stream()?.response, stream()?.logging, true),
        MapType::CalloutHeaders => state.answer.as_ref().map(|answer| &answer.headers).ok_or(Status::BadArgument),
        MapType::CalloutTrailers => state.answer.as_ref().map(|answer| &answer.trailers).ok_or(Status::BadArgument),
        MapType::GrpcInitialMetadata | MapType::GrpcTrailingMetadata => Err(Status::BadArgument),
    }
}

fn headers(half: &Half, logging: bool) -> Result<&HeaderMap, Status> {
    match (half.headers_open, logging && half.head != Progress::Absent) {
        (false, false) => Err(if logging { Status::NotFound } else { Status::BadArgument }),
        _ => Ok(&half.headers),
    }
}

fn trailers(half: &Half, logging: bool, logged: bool) -> Result<&HeaderMap, Status> {
    match (logging, half.trailers_open) {
        (true, _) if logged && half.tail != Progress::Absent => Ok(&half.trailers),
        (true, _) => Err(Status::NotFound),
        (false, true) => Ok(&half.trailers),
        (false, false) => Err(Status::BadArgument),
    }
}

/// The map as the guest may change it now. Trailers come into being when the guest asks at the end of the body.
fn writable<H: Host>(state: &mut State<H>, kind: MapType) -> Result<&mut HeaderMap, Status> {
    let stream = state.stream_mut().ok_or(Status::BadArgument)?;
    let (map, open) = match kind {
        MapType::RequestHeaders => {
            // Any write makes Envoy choose the route again.
            stream.route_cleared |= stream.request.headers_open;
            (&mut stream.request.headers, stream.request.headers_open)
        }
        MapType::ResponseHeaders => (&mut stream.response.headers, stream.response.headers_open),
        MapType::RequestTrailers => {
            let open = stream.request.make_trailers();
            (&mut stream.request.trailers, open)
        }
        MapType::ResponseTrailers => {
            let open = stream.response.make_trailers();
            (&mut stream.response.trailers, open)
        }
        _ => return Err(Status::BadArgument),
    };
    if open { Ok(map) } else { Err(Status::BadArgument) }
}

fn check_value<H: Host>(state: &mut State<H>, value: &[u8]) {
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        state.danger(Danger::LineBreakInValue);
    }
}

pub(super) fn get_pairs<H: Host>(call: &mut Call<'_, H>, kind: u32, data_out: u32, len_out: u32) -> Result<(), Fault> {
    let kind = MapType::try_from(kind)?;
    // Envoy gives no bytes at all for no pairs.
    let len = match readable(call.state(), kind) {
        Ok(map) if !map.is_empty() => pairs::encoded_len(map),
        _ => 0,
    };
    call.give((data_out, len_out), len, |state, place| pairs::encode(readable(state, kind)?, place))
}

pub(super) fn set_pairs<H: Host>(call: &mut Call<'_, H>, kind: u32, data: u32, len: u32) -> Result<(), Fault> {
    let kind = MapType::try_from(kind)?;
    let (memory, state) = call.split()?;
    let map = pairs::decode(read(memory, data, len)?)?;
    for (_, value) in map.iter() {
        check_value(state, value);
    }
    *writable(state, kind)? = map;
    Ok(())
}

pub(super) fn get_value<H: Host>(
    call: &mut Call<'_, H>,
    kind: u32,
    name: u32,
    name_len: u32,
    data_out: u32,
    len_out: u32,
) -> Result<(), Fault> {
    let kind = MapType::try_from(kind)?;
    let (memory, state) = call.split()?;
    let found = readable(state, kind)?.get(read(memory, name, name_len)?).ok_or(Status::NotFound)?;
    // Values are short: one copy here is cheaper than a second search after the guest's allocator has run.
    let mut short = [0; 256];
    match short.get_mut(..found.len()) {
        Some(copy) => {
            copy.copy_from_slice(found);
            let len = found.len();
            call.give_bytes((data_out, len_out), short.get(..len).unwrap_or_default())
        }
        None => {
            let copy = found.to_vec();
            call.give_bytes((data_out, len_out), &copy)
        }
    }
}

/// Applies a change that needs name and value.
fn change<H: Host>(
    call: &mut Call<'_, H>,
    kind: u32,
    (name, name_len): (u32, u32),
    (value, value_len): (u32, u32),
    apply: impl FnOnce(&mut HeaderMap, &[u8], &[u8]),
) -> Result<(), Fault> {
    let kind = MapType::try_from(kind)?;
    let (memory, state) = call.split()?;
    let (name, value) = (read(memory, name, name_len)?, read(memory, value, value_len)?);
    check_value(state, value);
    apply(writable(state, kind)?, name, value);
    Ok(())
}

pub(super) fn add<H: Host>(
    call: &mut Call<'_, H>,
    kind: u32,
    name: u32,
    name_len: u32,
    value: u32,
    value_len: u32,
) -> Result<(), Fault> {
    change(call, kind, (name, name_len), (value, value_len), |map, name, value| map.append(name, value))
}

pub(super) fn replace<H: Host>(
    call: &mut Call<'_, H>,
    kind: u32,
    name: u32,
    name_len: u32,
    value: u32,
    value_len: u32,
) -> Result<(), Fault> {
    change(call, kind, (name, name_len), (value, value_len), |map, name, value| map.set(name, value))
}

pub(super) fn remove<H: Host>(call: &mut Call<'_, H>, kind: u32, name: u32, name_len: u32) -> Result<(), Fault> {
    change(call, kind, (name, name_len), (0, 0), |map, name, _| {
        map.remove(name);
    })
}

pub(super) fn size<H: Host>(call: &mut Call<'_, H>, kind: u32, size_out: u32) -> Result<(), Fault> {
    let kind = MapType::try_from(kind)?;
    let map = readable(call.state(), kind)?;
    let size: usize = map.iter().map(|(name, value)| name.len() + value.len()).sum();
    Ok(call.put(size_out, (size as u32).to_le_bytes())?)
}
