//! Bodies and configurations. Reading beyond the end, or a body that is not open, gives no bytes and `Ok`, as in Envoy.

use crate::body;
use crate::half::Half;
use crate::host::{Danger, Host};
use crate::memory::{Call, read};
use crate::state::State;
use crate::status::{Fault, Status};
use crate::types::BufferType;

/// The bytes the guest may read now.
fn readable<H: Host>(state: &State<H>, kind: BufferType) -> Result<&[u8], Status> {
    let open = |half: &'static str| {
        state.stream().map(|stream| if half == "request" { &stream.request } else { &stream.response })
    };
    let shown = |half: Option<_>| half.filter(|half: &&Half| half.body_open).map(|half| half.held.range(0, usize::MAX));
    match kind {
        BufferType::RequestBody => Ok(shown(open("request")).unwrap_or_default()),
        BufferType::ResponseBody => Ok(shown(open("response")).unwrap_or_default()),
        BufferType::DownstreamData | BufferType::UpstreamData | BufferType::CallData | BufferType::GrpcMessage => {
            Ok(&[])
        }
        BufferType::CalloutBody => state.answer.as_ref().map(|answer| &*answer.body).ok_or(Status::NotFound),
        BufferType::VmConfiguration => Ok(&state.plugin.vm_configuration),
        BufferType::PluginConfiguration => state.configuring.as_deref().ok_or(Status::NotFound),
    }
}

pub(super) fn get<H: Host>(
    call: &mut Call<'_, H>,
    kind: u32,
    start: u32,
    max: u32,
    data_out: u32,
    len_out: u32,
) -> Result<(), Fault> {
    let kind = BufferType::try_from(kind)?;
    start.checked_add(max).ok_or(Status::BadArgument)?;
    let (start, max) = (start as usize, max as usize);
    let len = body::range(readable(call.state(), kind)?, start, max).len();
    call.give((data_out, len_out), len, |state, place| {
        let bytes = body::range(readable(state, kind)?, start, max);
        let same = bytes.len() == place.len();
        place.copy_from_slice(if same { bytes } else { return Err(Status::InternalFailure) });
        Ok(())
    })
}

pub(super) fn status<H: Host>(call: &mut Call<'_, H>, kind: u32, len_out: u32, flags_out: u32) -> Result<(), Fault> {
    let kind = BufferType::try_from(kind)?;
    let len = readable(call.state(), kind)?.len() as u32;
    call.put(len_out, len.to_le_bytes())?;
    Ok(call.put(flags_out, 0u32.to_le_bytes())?)
}

pub(super) fn set<H: Host>(
    call: &mut Call<'_, H>,
    kind: u32,
    start: u32,
    len: u32,
    data: u32,
    data_len: u32,
) -> Result<(), Fault> {
    let kind = BufferType::try_from(kind)?;
    let (memory, state) = call.split()?;
    let data = read(memory, data, data_len)?;
    let stream = state.stream_mut().ok_or(Status::BadArgument)?;
    let half = match kind {
        BufferType::RequestBody => &mut stream.request,
        BufferType::ResponseBody => &mut stream.response,
        _ => return Err(Status::BadArgument.into()),
    };
    if !half.body_open {
        return Err(Status::BadArgument.into());
    }
    let before = half.held.len();
    half.held.write(start as usize, len as usize, data)?;
    if before != half.held.len() && half.head_left() && half.headers.get("content-length").is_some() {
        state.danger(Danger::BodyLengthChanged);
    }
    Ok(())
}
