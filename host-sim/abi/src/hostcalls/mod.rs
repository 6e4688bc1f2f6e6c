//! The functions the guest imports. Each has the same shape: read the guest's arguments, do one thing in the state, give a
//! status. Addresses and numbers from the guest are never trusted; what is wrong with them becomes a status.

mod buffers;
mod callout;
mod headers;
mod metrics;
mod plugin;
mod properties;
mod shared;
mod stream;
mod wasi;

use crate::host::Host;
use crate::memory::Call;
use crate::state::State;
use crate::status::to_guest;
use wasmtime::{Caller, Linker};

/// The two names under which guests import WASI.
const WASI: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

/// Writes the table of hostcalls once: for the linker and for the check of imports.
macro_rules! hostcalls {
    ($($name:literal => $func:path, ($($arg:ident: $ty:ty),*);)+) => {
        const NAMES: &[&str] = &[$($name),+];

        fn link_env<H: Host>(linker: &mut Linker<State<H>>) -> wasmtime::Result<()> {
            $(linker.func_wrap("env", $name, |caller: Caller<'_, State<H>>, $($arg: $ty),*| {
                to_guest($func(&mut Call::new(caller), $($arg),*))
            })?;)+
            Ok(())
        }
    };
}

hostcalls! {
    "proxy_log" => plugin::log, (level: u32, text: u32, len: u32);
    "proxy_get_log_level" => plugin::get_log_level, (level_out: u32);
    "proxy_get_current_time_nanoseconds" => plugin::current_time, (time_out: u32);
    "proxy_set_tick_period_milliseconds" => plugin::set_tick_period, (period: u32);
    "proxy_set_effective_context" => plugin::set_effective_context, (context: u32);
    "proxy_done" => plugin::done, ();
    "proxy_get_status" => plugin::get_status, (code_out: u32, text_out: u32, len_out: u32);
    "proxy_call_foreign_function" => plugin::call_foreign_function,
        (name: u32, name_len: u32, args: u32, args_len: u32, data_out: u32, len_out: u32);
    "proxy_get_buffer_bytes" => buffers::get, (kind: u32, start: u32, max: u32, data_out: u32, len_out: u32);
    "proxy_get_buffer_status" => buffers::status, (kind: u32, len_out: u32, flags_out: u32);
    "proxy_set_buffer_bytes" => buffers::set, (kind: u32, start: u32, len: u32, data: u32, data_len: u32);
    "proxy_get_header_map_pairs" => headers::get_pairs, (kind: u32, data_out: u32, len_out: u32);
    "proxy_set_header_map_pairs" => headers::set_pairs, (kind: u32, data: u32, len: u32);
    "proxy_get_header_map_value" => headers::get_value, (kind: u32, name: u32, name_len: u32, data_out: u32, len_out: u32);
    "proxy_add_header_map_value" => headers::add, (kind: u32, name: u32, name_len: u32, value: u32, value_len: u32);
    "proxy_replace_header_map_value" => headers::replace, (kind: u32, name: u32, name_len: u32, value: u32, value_len: u32);
    "proxy_remove_header_map_value" => headers::remove, (kind: u32, name: u32, name_len: u32);
    "proxy_get_header_map_size" => headers::size, (kind: u32, size_out: u32);
    "proxy_get_property" => properties::get, (path: u32, path_len: u32, data_out: u32, len_out: u32);
    "proxy_set_property" => properties::set, (path: u32, path_len: u32, value: u32, value_len: u32);
    "proxy_get_shared_data" => shared::get, (key: u32, key_len: u32, data_out: u32, len_out: u32, cas_out: u32);
    "proxy_set_shared_data" => shared::set, (key: u32, key_len: u32, value: u32, value_len: u32, cas: u32);
    "proxy_register_shared_queue" => shared::register, (name: u32, name_len: u32, id_out: u32);
    "proxy_resolve_shared_queue" => shared::resolve, (vm: u32, vm_len: u32, name: u32, name_len: u32, id_out: u32);
    "proxy_dequeue_shared_queue" => shared::dequeue, (queue: u32, data_out: u32, len_out: u32);
    "proxy_enqueue_shared_queue" => shared::enqueue, (queue: u32, data: u32, len: u32);
    "proxy_continue_stream" => stream::resume, (kind: u32);
    "proxy_close_stream" => stream::close, (kind: u32);
    "proxy_send_local_response" => stream::send_local_response,
        (status: u32, details: u32, details_len: u32, body: u32, body_len: u32, headers: u32, headers_len: u32, grpc: u32);
    "proxy_http_call" => callout::http_call,
        (cluster: u32, cluster_len: u32, headers: u32, headers_len: u32, body: u32, body_len: u32,
         trailers: u32, trailers_len: u32, timeout: u32, token_out: u32);
    "proxy_grpc_call" => callout::grpc_call,
        (a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, i: u32, j: u32, k: u32, l: u32);
    "proxy_grpc_stream" => callout::grpc_stream,
        (a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, i: u32);
    "proxy_grpc_send" => callout::grpc_send, (token: u32, message: u32, len: u32, end: u32);
    "proxy_grpc_cancel" => callout::grpc_end, (token: u32);
    "proxy_grpc_close" => callout::grpc_end, (token: u32);
    "proxy_define_metric" => metrics::define, (kind: u32, name: u32, name_len: u32, id_out: u32);
    "proxy_increment_metric" => metrics::increment, (id: u32, offset: i64);
    "proxy_record_metric" => metrics::record, (id: u32, value: u64);
    "proxy_get_metric" => metrics::get, (id: u32, value_out: u32);
}

/// Whether this host offers an import of that name.
pub(crate) fn is_known(module: &str, name: &str) -> bool {
    (module == "env" && NAMES.contains(&name)) || (WASI.contains(&module) && wasi::NAMES.contains(&name))
}

/// Everything a guest can import.
pub(crate) fn linker<H: Host>(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State<H>>> {
    let mut linker = Linker::new(engine);
    link_env(&mut linker)?;
    for module in WASI {
        wasi::link(&mut linker, module)?;
    }
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::Canary;
    use crate::config::PluginConfig;
    use std::collections::BTreeSet;
    use wasmtime::{Engine, Store};

    #[test]
    fn what_is_called_known_is_what_is_linked() {
        let engine = Engine::default();
        let mut store = Store::new(&engine, State::new(Canary::default(), PluginConfig::default()));
        let linker = linker::<Canary>(&engine).unwrap();
        let linked: BTreeSet<(String, String)> =
            linker.iter(&mut store).map(|(module, name, _)| (module.to_owned(), name.to_owned())).collect();
        assert!(linked.iter().all(|(module, name)| is_known(module, name)));
        assert_eq!(linked.len(), NAMES.len() + WASI.len() * wasi::NAMES.len());
    }
}
