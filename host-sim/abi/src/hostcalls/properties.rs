//! Properties. What the guest has set comes first, then what can be told from the stream's own maps while they are open (a
//! closed map has no properties, as in Envoy), then the host.

use crate::half::{Half, Progress};
use crate::host::Host;
use crate::memory::{Call, read};
use crate::state::State;
use crate::status::{Fault, Status};
use crate::stream::Stream;

/// The longest path Envoy knows has fewer parts.
const PARTS_MAX: usize = 8;

/// Splits at zero bytes; one zero at the end, which some SDKs send, is dropped.
fn split(path: &[u8]) -> Result<([&[u8]; PARTS_MAX], usize), Status> {
    let path = path.strip_suffix(b"\0").unwrap_or(path);
    let mut parts: [&[u8]; PARTS_MAX] = [&[]; PARTS_MAX];
    let mut count = 0;
    for part in path.split(|&byte| byte == 0) {
        *parts.get_mut(count).ok_or(Status::NotFound)? = part;
        count += 1;
    }
    Ok((parts, count))
}

pub(super) fn get<H: Host>(
    call: &mut Call<'_, H>,
    path: u32,
    path_len: u32,
    data_out: u32,
    len_out: u32,
) -> Result<(), Fault> {
    let (memory, state) = call.split()?;
    let (parts, count) = split(read(memory, path, path_len)?)?;
    let path = parts.get(..count).unwrap_or_default();
    let value = find(state, path).ok_or(Status::NotFound)?;
    call.give_bytes((data_out, len_out), &value)
}

pub(super) fn set<H: Host>(
    call: &mut Call<'_, H>,
    path: u32,
    path_len: u32,
    value: u32,
    value_len: u32,
) -> Result<(), Fault> {
    let (memory, state) = call.split()?;
    let (path, value) = (read(memory, path, path_len)?, read(memory, value, value_len)?);
    let (parts, count) = split(path)?;
    let stream = state.stream_mut().ok_or(Status::NotFound)?;
    let id = stream.id;
    stream.properties.retain(|(old, _)| old != path);
    stream.properties.push((path.to_vec(), value.to_vec()));
    state.host.property_set(id, parts.get(..count).unwrap_or_default(), value);
    Ok(())
}

fn find<H: Host>(state: &State<H>, path: &[&[u8]]) -> Option<Vec<u8>> {
    let stream = state.stream();
    match (path, stream) {
        ([b"plugin_name"], _) => return Some(state.plugin.name.clone().into_bytes()),
        ([b"plugin_root_id"], _) => return Some(state.plugin.root_id.clone().into_bytes()),
        ([b"plugin_vm_id"], _) => return Some(state.plugin.vm_id.clone().into_bytes()),
        ([name], Some(stream)) => {
            if let Some(value) = set_by_guest(stream, name) {
                return Some(value);
            }
        }
        ([b"filter_state", name], Some(stream)) => {
            if let Some(value) = name.strip_prefix(b"wasm.").and_then(|name| set_by_guest(stream, name)) {
                return Some(value);
            }
        }
        ([b"request", rest @ ..], Some(stream)) => match request(stream, rest) {
            Known::Value(value) => return Some(value),
            Known::Closed => return None,
            Known::No => {}
        },
        ([b"response", rest @ ..], Some(stream)) => match response(stream, rest) {
            Known::Value(value) => return Some(value),
            Known::Closed => return None,
            Known::No => {}
        },
        _ => {}
    }
    state.host.property(stream.map(|stream| stream.id), path)
}

/// Only paths of one part can be read back in Envoy.
fn set_by_guest(stream: &Stream, name: &[u8]) -> Option<Vec<u8>> {
    stream.properties.iter().find(|(path, _)| path == name).map(|(_, value)| value.clone())
}

/// Whether a property is this crate's to answer.
enum Known {
    Value(Vec<u8>),
    /// Ours, and not to be had now.
    Closed,
    /// The host may know.
    No,
}

fn value(found: Option<&[u8]>) -> Known {
    found.map_or(Known::Closed, |found| Known::Value(found.to_vec()))
}

fn number(number: u64) -> Known {
    Known::Value(number.to_le_bytes().to_vec())
}

/// A header while its map is open or logged.
fn header<'a>(half: &'a Half, stream: &Stream, name: &[u8]) -> Option<&'a [u8]> {
    let open = half.headers_open || (stream.logging && half.head != Progress::Absent);
    half.headers.get(name).filter(|_| open)
}

fn request(stream: &Stream, path: &[&[u8]]) -> Known {
    let half = &stream.request;
    let header = |name: &str| header(half, stream, name.as_bytes());
    let url = || header(":path").map(|path| path.split(|&byte| byte == b'?'));
    match path {
        [b"path"] => value(header(":path")),
        [b"url_path"] => value(url().and_then(|mut parts| parts.next())),
        [b"query"] => {
            let query = header(":path")
                .and_then(|path| path.iter().position(|&byte| byte == b'?').map(|at| path.get(at + 1..)));
            query.map_or_else(|| value(header(":path").map(|_| &b""[..])), value)
        }
        [b"host"] => value(header(":authority")),
        [b"scheme"] => value(header(":scheme")),
        [b"method"] => value(header(":method")),
        [b"referer"] => value(header("referer")),
        [b"useragent"] => value(header("user-agent")),
        [b"id"] => value(header("x-request-id")),
        [b"headers", name] => value(self::header(half, stream, name)),
        [b"size"] => {
            let announced = header("content-length").and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            number(announced.filter(|_| half.size == 0).unwrap_or(half.size))
        }
        _ => Known::No,
    }
}

fn response(stream: &Stream, path: &[&[u8]]) -> Known {
    let half = &stream.response;
    match path {
        [b"code"] if half.head == Progress::Absent => Known::Closed,
        [b"code"] => half.headers.get_str(":status").and_then(|text| text.parse().ok()).map_or(Known::Closed, number),
        [b"headers", name] => value(header(half, stream, name)),
        [b"size"] => number(half.size),
        _ => Known::No,
    }
}
