//! Making an instance of a module and bringing its plugin context up: `_initialize`, context, `on_vm_start`, `on_configure`.

use crate::exports::{Exports, GuestMemory, find};
use crate::host::Host;
use crate::hostcalls;
use crate::module::Module;
use crate::state::{Active, State, limits};
use wasmtime::{Store, TypedFunc, WasmParams, WasmResults};

/// Why a guest did not come up.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It cannot be linked or instantiated.
    Link(String),
    /// `on_vm_start` or `on_configure` said false.
    Refused,
    /// It trapped.
    Trap(String),
}

/// A store around this state, without a guest yet.
pub(crate) fn store<H: Host>(module: &Module, state: State<H>) -> Store<State<H>> {
    let mut store = Store::new(&module.engine, state);
    store.limiter(|state| &mut state.limits);
    store
}

/// Instantiates the guest in this store and runs its start function.
pub(crate) fn instantiate<H: Host>(module: &Module, store: &mut Store<State<H>>) -> Result<Exports, Failed> {
    let link = |error: wasmtime::Error| Failed::Link(format!("{error:#}"));
    let data = store.data_mut();
    data.guest = None;
    data.limits = limits();
    arm(module, store);
    let linker = hostcalls::linker::<H>(&module.engine).map_err(link)?;
    let instance = linker.instantiate(&mut *store, &module.code).map_err(link)?;
    let guest = GuestMemory::of(store, &instance).map_err(link)?;
    store.data_mut().guest = Some(guest);
    let exports = Exports::of(store, &instance).map_err(link)?;
    let initialize = find::<H, (), ()>(store, &instance, "_initialize").map_err(link)?;
    let start = match initialize {
        Some(initialize) => Some(initialize),
        None => find::<H, (), ()>(store, &instance, "_start").map_err(link)?,
    };
    call(module, store, Active::Nobody, &start, (), ()).map_err(trap)?;
    Ok(exports)
}

/// Makes a plugin context and configures it. It is left in place when the guest refuses; the caller removes it.
pub(crate) fn configure<H: Host>(
    module: &Module,
    store: &mut Store<State<H>>,
    exports: &Exports,
    root: u32,
    configuration: &[u8],
) -> Result<(), Failed> {
    let active = Active::Root(root);
    let vm_size = store.data().plugin.vm_configuration.len() as u32;
    store.data_mut().roots.add(root);
    store.data_mut().configuring = Some(configuration.to_vec());
    let mut steps = || {
        call(module, store, active, &exports.context_create.function, (root, 0), ())?;
        let started = call(module, store, active, &exports.vm_start.function, (root, vm_size), 1)?;
        if started == 0 {
            return Ok(0);
        }
        call(module, store, active, &exports.configure.function, (root, configuration.len() as u32), 1)
    };
    let result = steps();
    store.data_mut().configuring = None;
    match result.map_err(trap)? {
        0 => Err(Failed::Refused),
        _ => Ok(()),
    }
}

fn trap(error: wasmtime::Error) -> Failed {
    Failed::Trap(format!("{error:#}"))
}

/// Gives the next callback its share of epochs.
fn arm<H>(module: &Module, store: &mut Store<State<H>>) {
    if let Some(epochs) = module.epochs_per_callback {
        store.set_epoch_deadline(epochs);
    }
}

/// Runs one callback for one context. A callback that is not exported answers `default`.
#[inline]
pub(crate) fn call<H, P: WasmParams, R: WasmResults>(
    module: &Module,
    store: &mut Store<State<H>>,
    active: Active,
    callback: &Option<TypedFunc<P, R>>,
    params: P,
    default: R,
) -> wasmtime::Result<R> {
    let Some(callback) = callback else { return Ok(default) };
    arm(module, store);
    store.data_mut().active = active;
    let result = callback.call(&mut *store, params);
    store.data_mut().active = Active::Nobody;
    result
}
