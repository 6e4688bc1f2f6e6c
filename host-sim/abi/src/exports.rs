//! The guest's callbacks, looked up once per instance. A callback the guest does not export is not called.

use crate::state::State;
use std::sync::Arc;
use wasmtime::{Instance, Memory, Store, TypedFunc, WasmParams, WasmResults};

/// A callback that the guest may leave out.
pub(crate) struct Callback<P, R> {
    /// As it is exported.
    pub(crate) name: &'static str,
    pub(crate) function: Option<TypedFunc<P, R>>,
}

/// All callbacks of one instance. Context ids, counts, sizes and flags are i32 on the wire.
pub(crate) struct Exports {
    /// For what is exported beside the callbacks.
    pub(crate) instance: Instance,
    pub(crate) context_create: Callback<(u32, u32), ()>,
    pub(crate) vm_start: Callback<(u32, u32), u32>,
    pub(crate) configure: Callback<(u32, u32), u32>,
    pub(crate) tick: Callback<u32, ()>,
    pub(crate) queue_ready: Callback<(u32, u32), ()>,
    pub(crate) request_headers: Callback<(u32, u32, u32), u32>,
    pub(crate) request_body: Callback<(u32, u32, u32), u32>,
    pub(crate) request_trailers: Callback<(u32, u32), u32>,
    pub(crate) response_headers: Callback<(u32, u32, u32), u32>,
    pub(crate) response_body: Callback<(u32, u32, u32), u32>,
    pub(crate) response_trailers: Callback<(u32, u32), u32>,
    pub(crate) http_call_response: Callback<(u32, u32, u32, u32, u32), ()>,
    pub(crate) log: Callback<u32, ()>,
    pub(crate) done: Callback<u32, u32>,
    pub(crate) delete: Callback<u32, ()>,
}

/// How the host reaches into the guest: its memory and its allocator.
pub(crate) struct GuestMemory {
    pub(crate) memory: Memory,
    /// Behind a pointer that is cheap to clone: a hostcall must hold it while the guest runs.
    pub(crate) allocate: Arc<TypedFunc<u32, u32>>,
}

impl Exports {
    pub(crate) fn of<H: 'static>(store: &mut Store<State<H>>, instance: &Instance) -> wasmtime::Result<Self> {
        Ok(Exports {
            instance: *instance,
            context_create: callback(store, instance, "proxy_on_context_create")?,
            vm_start: callback(store, instance, "proxy_on_vm_start")?,
            configure: callback(store, instance, "proxy_on_configure")?,
            tick: callback(store, instance, "proxy_on_tick")?,
            queue_ready: callback(store, instance, "proxy_on_queue_ready")?,
            request_headers: callback(store, instance, "proxy_on_request_headers")?,
            request_body: callback(store, instance, "proxy_on_request_body")?,
            request_trailers: callback(store, instance, "proxy_on_request_trailers")?,
            response_headers: callback(store, instance, "proxy_on_response_headers")?,
            response_body: callback(store, instance, "proxy_on_response_body")?,
            response_trailers: callback(store, instance, "proxy_on_response_trailers")?,
            http_call_response: callback(store, instance, "proxy_on_http_call_response")?,
            log: callback(store, instance, "proxy_on_log")?,
            done: callback(store, instance, "proxy_on_done")?,
            delete: callback(store, instance, "proxy_on_delete")?,
        })
    }
}

impl GuestMemory {
    pub(crate) fn of<H: 'static>(store: &mut Store<State<H>>, instance: &Instance) -> wasmtime::Result<Self> {
        let memory = instance.get_memory(&mut *store, "memory");
        let memory = memory.ok_or_else(|| wasmtime::Error::msg("no memory exported"))?;
        let allocate = match find(store, instance, "proxy_on_memory_allocate")? {
            Some(allocate) => Some(allocate),
            None => find(store, instance, "malloc")?,
        };
        let allocate = allocate.ok_or_else(|| wasmtime::Error::msg("no allocator exported"))?;
        Ok(GuestMemory { memory, allocate: Arc::new(allocate) })
    }
}

fn callback<H: 'static, P: WasmParams, R: WasmResults>(
    store: &mut Store<State<H>>,
    instance: &Instance,
    name: &'static str,
) -> wasmtime::Result<Callback<P, R>> {
    find(store, instance, name).map(|function| Callback { name, function })
}

/// A function of the guest with the signature that the ABI gives it; another signature is an error.
pub(crate) fn find<H: 'static, P: WasmParams, R: WasmResults>(
    store: &mut Store<State<H>>,
    instance: &Instance,
    name: &str,
) -> wasmtime::Result<Option<TypedFunc<P, R>>> {
    match instance.get_func(&mut *store, name) {
        Some(func) => func.typed(&*store).map(Some),
        None => Ok(None),
    }
}
