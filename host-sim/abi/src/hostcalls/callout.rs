//! HTTP calls by the guest. The call belongs to the plugin context: it goes on when the stream that began it has ended.
//! gRPC calls are not offered: beginning one fails as in Envoy when the cluster cannot be called.

use crate::host::{Callout, CalloutError, Host};
use crate::memory::{Call, read};
use crate::pairs;
use crate::status::{Fault, Status};
use std::time::Duration;

/// Envoy keeps the kind of call in the low bits of a token.
const TOKEN_STEP: u32 = 4;

#[allow(clippy::too_many_arguments, reason = "the ABI has so many")]
pub(super) fn http_call<H: Host>(
    call: &mut Call<'_, H>,
    cluster: u32,
    cluster_len: u32,
    headers: u32,
    headers_len: u32,
    body: u32,
    body_len: u32,
    trailers: u32,
    trailers_len: u32,
    timeout_ms: u32,
    token_out: u32,
) -> Result<(), Fault> {
    let (memory, state) = call.split()?;
    let root = state.root_id()?;
    let cluster = std::str::from_utf8(read(memory, cluster, cluster_len)?).map_err(|_| Status::BadArgument)?;
    let mut headers = pairs::decode(read(memory, headers, headers_len)?)?;
    let trailers = pairs::decode(read(memory, trailers, trailers_len)?)?;
    let body = read(memory, body, body_len)?;
    let missing = [":method", ":path", ":authority"].iter().any(|name| headers.get(name).is_none());
    if missing || i32::try_from(timeout_ms).is_err() {
        return Err(Status::BadArgument.into());
    }
    if !body.is_empty() {
        headers.set("content-length", body.len().to_string());
    }
    let timeout = (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms.into()));
    let token = state.last_token.wrapping_add(TOKEN_STEP);
    let callout = Callout { cluster, headers, body, trailers, timeout, stream: state.stream_id() };
    state.host.dispatch(token, callout).map_err(|error| match error {
        CalloutError::UnknownCluster => Status::BadArgument,
        CalloutError::CannotSend => Status::InternalFailure,
    })?;
    state.last_token = token;
    state.calls.insert(token, root);
    Ok(call.put(token_out, token.to_le_bytes())?)
}

#[allow(clippy::too_many_arguments, reason = "the ABI has so many")]
pub(super) fn grpc_call<H: Host>(
    _: &mut Call<'_, H>,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
) -> Result<(), Fault> {
    Err(Status::InternalFailure.into())
}

#[allow(clippy::too_many_arguments, reason = "the ABI has so many")]
pub(super) fn grpc_stream<H: Host>(
    _: &mut Call<'_, H>,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
) -> Result<(), Fault> {
    Err(Status::InternalFailure.into())
}

pub(super) fn grpc_send<H: Host>(_: &mut Call<'_, H>, _: u32, _: u32, _: u32, _: u32) -> Result<(), Fault> {
    Err(Status::NotFound.into())
}

/// Cancel and close alike: there is nothing to end.
pub(super) fn grpc_end<H: Host>(_: &mut Call<'_, H>, _: u32) -> Result<(), Fault> {
    Err(Status::NotFound.into())
}
