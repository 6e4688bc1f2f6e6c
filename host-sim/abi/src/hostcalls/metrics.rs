//! Metrics. The rules are in [`MetricStore`](crate::MetricStore); here is only the marshalling.

use crate::host::Host;
use crate::memory::{Call, read};
use crate::status::{Fault, Status};
use crate::types::MetricKind;

pub(super) fn define<H: Host>(
    call: &mut Call<'_, H>,
    kind: u32,
    name: u32,
    name_len: u32,
    id_out: u32,
) -> Result<(), Fault> {
    let kind = MetricKind::try_from(kind)?;
    let (memory, state) = call.split()?;
    let name = String::from_utf8_lossy(read(memory, name, name_len)?);
    let id = state.host.define(kind, &name);
    Ok(call.put(id_out, id.to_le_bytes())?)
}

pub(super) fn increment<H: Host>(call: &mut Call<'_, H>, id: u32, offset: i64) -> Result<(), Fault> {
    Ok(call.state().host.increment(id, offset).map_err(Status::from)?)
}

pub(super) fn record<H: Host>(call: &mut Call<'_, H>, id: u32, value: u64) -> Result<(), Fault> {
    Ok(call.state().host.record(id, value).map_err(Status::from)?)
}

pub(super) fn get<H: Host>(call: &mut Call<'_, H>, id: u32, value_out: u32) -> Result<(), Fault> {
    let value = call.state().host.get(id).map_err(Status::from)?;
    Ok(call.put(value_out, value.to_le_bytes())?)
}
