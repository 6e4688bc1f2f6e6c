//! The hostcalls of the filter, where the SDK's own would panic: a status is a number, and any of them may come.

use crate::pairs::Pair;

/// Header maps by the ABI's numbers.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum HeaderMap {
    Request = 0,
    Response = 2,
}

/// Log levels by the ABI's numbers.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum LogLevel {
    Info = 2,
    Warn = 3,
    Error = 4,
}

const OK: u32 = 0;
const CAS_MISMATCH: u32 = 8;
const PLUGIN_CONFIGURATION: u32 = 7;
const NO_GRPC_STATUS: i32 = -1;
const COUNTER: u32 = 0;
const GAUGE: u32 = 1;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_get_buffer_bytes(kind: u32, start: usize, size: usize, data: *mut *mut u8, data_size: *mut usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        size: usize,
    ) -> u32;
    fn proxy_add_header_map_value(map: u32, name: *const u8, name_size: usize, value: *const u8, size: usize) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        version: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_size: usize, data: *const u8, size: usize, version: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
}

/// Takes over a buffer that the host allocated through the SDK's `malloc`; empty when there is none.
///
/// # Safety
/// `data` is null or came from the host's last call back into `malloc` with `size`, and nobody else owns it.
pub(crate) unsafe fn take_over(data: *mut u8, size: usize) -> Vec<u8> {
    if data.is_null() {
        return Vec::new();
    }
    // SAFETY: the SDK's malloc hands out a boxed slice of exactly `size` bytes.
    unsafe { Vec::from_raw_parts(data, size, size) }
}

/// One log line.
pub(crate) fn log(level: LogLevel, message: &str) {
    // SAFETY: pointer and length of a live string. The status is of no use: there is nowhere to report it.
    unsafe { proxy_log(level as u32, message.as_ptr(), message.len()) };
}

/// What a hostcall leaves in a buffer; `None` where it has none to give.
///
/// # Safety
/// `call` passes both pointers to a hostcall that allocates through `malloc` and writes where and how much, and returns its status.
unsafe fn buffer(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    match call(&raw mut data, &raw mut size) {
        // SAFETY: the host has called back into `malloc` for this buffer, and keeps nothing of it.
        OK => Some(unsafe { take_over(data, size) }),
        _ => None,
    }
}

/// The bytes of the plugin configuration; empty when the host has none.
pub(crate) fn plugin_configuration(size: usize) -> Vec<u8> {
    // SAFETY: as `buffer` wants it.
    let bytes =
        unsafe { buffer(|data, data_size| proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, size, data, data_size)) };
    bytes.unwrap_or_default()
}

/// The encoded header map; empty when it is not open in this phase.
pub(crate) fn header_pairs(map: HeaderMap) -> Vec<u8> {
    // SAFETY: as `buffer` wants it.
    unsafe { buffer(|data, size| proxy_get_header_map_pairs(map as u32, data, size)) }.unwrap_or_default()
}

/// The first value of a header of the response; `None` when there is none.
pub(crate) fn response_header(name: &[u8]) -> Option<Vec<u8>> {
    let map = HeaderMap::Response as u32;
    // SAFETY: pointer and length of a live slice, and the rest as `buffer` wants it.
    unsafe { buffer(|data, size| proxy_get_header_map_value(map, name.as_ptr(), name.len(), data, size)) }
}

/// So often `on_tick` is called for the plugin context whose callback this is; 0: never.
pub(crate) fn set_tick_period(milliseconds: u32) {
    // SAFETY: a plain number. A host without ticks has none.
    unsafe { proxy_set_tick_period_milliseconds(milliseconds) };
}

/// The header has this one value from now on.
pub(crate) fn set_header(map: HeaderMap, (name, value): Pair<'_>) {
    // SAFETY: pointers and lengths of live slices. A map that is closed now is not written, and that is all.
    unsafe { proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// The header has this value besides those it had.
pub(crate) fn add_header(map: HeaderMap, (name, value): Pair<'_>) {
    // SAFETY: as above.
    unsafe { proxy_add_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// The header is gone.
pub(crate) fn remove_header(map: HeaderMap, name: &[u8]) {
    // SAFETY: as above.
    unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) };
}

/// A property; `None` when the host has none of this path.
pub(crate) fn property(path: &[&str]) -> Option<Vec<u8>> {
    let path = path.join("\0");
    // SAFETY: pointer and length of a live string, and the rest as `buffer` wants it.
    unsafe { buffer(|data, size| proxy_get_property(path.as_ptr(), path.len(), data, size)) }
}

/// Answers the request here; `headers` encoded. Takes effect when the callback returns.
pub(crate) fn send_local_response(status: u16, details: &str, body: &[u8], headers: &[u8]) {
    // SAFETY: pointers and lengths of live slices.
    unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        )
    };
}

/// The number of the counter of this name; `None` from a host that keeps none.
pub(crate) fn define_counter(name: &str) -> Option<u32> {
    define_metric(COUNTER, name)
}

/// The number of the gauge of this name; `None` from a host that keeps none.
pub(crate) fn define_gauge(name: &str) -> Option<u32> {
    define_metric(GAUGE, name)
}

fn define_metric(kind: u32, name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: pointer and length of a live string, and a live out-pointer.
    let status = unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) };
    (status == OK).then_some(id)
}

/// The gauge says this from now on, for all of the host's VMs.
pub(crate) fn set_gauge(gauge: u32, value: u64) {
    // SAFETY: plain numbers. What is not said is lost, and that is all.
    unsafe { proxy_record_metric(gauge, value) };
}

/// Counts one more.
pub(crate) fn increment(counter: u32) {
    // SAFETY: plain numbers. What is not counted is lost, and that is all.
    unsafe { proxy_increment_metric(counter, 1) };
}

/// Milliseconds since 1970; 0 from a host without a clock.
pub(crate) fn now_ms() -> u64 {
    let mut nanoseconds = 0;
    // SAFETY: a live out-pointer. Where the call fails it stays as it is.
    unsafe { proxy_get_current_time_nanoseconds(&raw mut nanoseconds) };
    nanoseconds / 1_000_000
}

/// What the host's VMs share under this key, and its version; `None` when there is nothing.
pub(crate) fn shared_data(key: &str) -> Option<(Vec<u8>, u32)> {
    let mut version = 0;
    // SAFETY: pointer and length of a live string, a live out-pointer, and the rest as `buffer` wants it.
    let bytes =
        unsafe { buffer(|data, size| proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut version)) };
    bytes.map(|bytes| (bytes, version))
}

/// A version that no entry has: a write with it holds only where nothing stands yet.
pub(crate) const NEVER: u32 = u32::MAX;

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It stands there.
    Done,
    /// Somebody else has written since.
    Overtaken,
    /// The host does not take it.
    Failed,
}

/// Shares this under the key if its version is still that, or if there is nothing yet. Version 0: in any case.
pub(crate) fn set_shared_data(key: &str, data: &[u8], version: u32) -> Written {
    // SAFETY: pointers and lengths of live slices.
    match unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), data.as_ptr(), data.len(), version) } {
        OK => Written::Done,
        CAS_MISMATCH => Written::Overtaken,
        _ => Written::Failed,
    }
}
