//! Resuming, cutting off and answering a stream. All three only note what is to happen; it happens when the callback has
//! returned. After the stream is over they do nothing and say `Ok`: the SDK panics on anything else.

use crate::half::Progress;
use crate::host::{Danger, Host};
use crate::local_reply::LocalReply;
use crate::memory::{Call, read};
use crate::pairs;
use crate::state::{Effect, State};
use crate::status::{Fault, Status};
use crate::stream::StreamId;
use crate::types::{Direction, StreamType};
use bytes::Bytes;

/// The stream that effects can still reach.
fn living<H: Host>(state: &State<H>) -> Option<StreamId> {
    state.stream().filter(|stream| !stream.over).map(|stream| stream.id)
}

pub(super) fn resume<H: Host>(call: &mut Call<'_, H>, kind: u32) -> Result<(), Fault> {
    let direction = match StreamType::try_from(kind)? {
        StreamType::Request => Direction::Request,
        StreamType::Response => Direction::Response,
        StreamType::Downstream => return Ok(()),
        StreamType::Upstream => return Err(Status::Unimplemented.into()),
    };
    let state = call.state();
    let Some(id) = living(state) else { return Ok(()) };
    let Some(stream) = state.streams.get_mut(id) else { return Ok(()) };
    let absent = stream.half(direction).head == Progress::Absent;
    // Envoy takes the request's maps away at once, whichever direction is resumed.
    stream.request.headers_open = false;
    stream.request.body_open = false;
    stream.request.trailers_open = false;
    if absent && direction == Direction::Response {
        state.danger(Danger::ResumeWithoutResponse);
    } else {
        state.effects.push_back(Effect::Resume(id, direction));
    }
    Ok(())
}

pub(super) fn close<H: Host>(call: &mut Call<'_, H>, kind: u32) -> Result<(), Fault> {
    let kind = StreamType::try_from(kind)?;
    let state = call.state();
    if let (StreamType::Request | StreamType::Response, Some(id)) = (kind, living(state)) {
        state.effects.push_back(Effect::Close(id));
    }
    Ok(())
}

#[allow(clippy::too_many_arguments, reason = "the ABI has so many")]
pub(super) fn send_local_response<H: Host>(
    call: &mut Call<'_, H>,
    status: u32,
    details: u32,
    details_len: u32,
    body: u32,
    body_len: u32,
    headers: u32,
    headers_len: u32,
    grpc_status: u32,
) -> Result<(), Fault> {
    let (memory, state) = call.split()?;
    let headers = pairs::decode(read(memory, headers, headers_len)?)?;
    let body = Bytes::copy_from_slice(read(memory, body, body_len)?);
    let details = String::from_utf8_lossy(read(memory, details, details_len)?).replace(char::is_whitespace, "_");
    let Some(id) = living(state) else {
        if state.stream().is_some() {
            state.danger(Danger::ReplyAfterEnd);
        }
        return Ok(());
    };
    let in_range = (200..600).contains(&status);
    if !in_range {
        state.danger(Danger::StatusOutOfRange);
    }
    let reply = LocalReply {
        status: if in_range { status } else { 500 },
        headers,
        body,
        grpc_status: (grpc_status <= 16).then_some(grpc_status),
        details: details.into(),
    };
    state.effects.push_back(Effect::Reply(id, Box::new(reply)));
    Ok(())
}
