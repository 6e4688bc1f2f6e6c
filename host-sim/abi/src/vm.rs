//! A running filter: one instance, its plugin contexts and its streams. The world calls in with what happens to a stream
//! ([`streams`](crate::streams)); the guest's answers come back as [`Flow`](crate::Flow) and [`Wakeup`](crate::Wakeup).

use crate::canary;
use crate::config::PluginConfig;
use crate::driver::Wakeup;
use crate::exports::{Callback, Exports};
use crate::failure::Health;
use crate::host::Host;
use crate::instance::{self, Failed};
use crate::module::Module;
use crate::state::{Active, State};
use crate::stream::StreamId;
use std::collections::VecDeque;
use wasmtime::{Store, WasmParams, WasmResults};

/// One instance of a filter with its host. It belongs to one thread at a time.
pub struct Vm<H: Host> {
    pub(crate) module: Module,
    /// Empty only inside [`Vm::reload`].
    store: Option<Store<State<H>>>,
    pub(crate) exports: Exports,
    pub(crate) health: Health,
    /// The plugin context that new streams belong to.
    pub(crate) root: u32,
    pub(crate) wakeups: VecDeque<Wakeup>,
}

/// The guest has trapped; it is dead and the log says why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trapped;

/// Why a filter did not start. `log` has the guest's own words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The module does not fit the host, for example a function has another signature.
    #[error("the filter cannot be loaded: {0}")]
    Link(String),
    /// The guest does not accept its configuration.
    #[error("the filter refuses its configuration{}", said(log))]
    Refused {
        /// Log lines written while it started.
        log: Vec<String>,
    },
    /// The guest crashed.
    #[error("the filter crashed while it started: {reason}{}", said(log))]
    Trap {
        /// The trap with its backtrace.
        reason: String,
        /// Log lines written while it started.
        log: Vec<String>,
    },
}

/// Why a new configuration was not taken. The old one goes on.
pub type ConfigureError = StartError;

fn said(log: &[String]) -> String {
    log.iter().map(|line| format!("\n  {line}")).collect()
}

impl StartError {
    fn from_guest(failed: Failed, log: Vec<String>) -> Self {
        match failed {
            Failed::Link(reason) => StartError::Link(reason),
            Failed::Refused => StartError::Refused { log },
            Failed::Trap(reason) => StartError::Trap { reason, log },
        }
    }
}

impl<H: Host> Vm<H> {
    /// Starts the filter: `_initialize`, then a plugin context with `on_vm_start` and `on_configure`.
    pub fn start(module: &Module, host: H, config: PluginConfig) -> Result<Self, StartError> {
        let mut store = instance::store(module, State::new(host, config));
        store.data_mut().lines = Some(Vec::new());
        let started = instance::instantiate(module, &mut store).and_then(|exports| {
            let configuration = store.data().plugin.configuration.clone();
            let root = store.data_mut().next_context();
            instance::configure(module, &mut store, &exports, root, &configuration)?;
            Ok((exports, root))
        });
        let log = store.data_mut().lines.take().unwrap_or_default();
        let (exports, root) = started.map_err(|failed| StartError::from_guest(failed, log))?;
        let module = module.clone();
        let mut vm =
            Vm { module, store: Some(store), exports, health: Health::default(), root, wakeups: VecDeque::new() };
        vm.settle(None);
        Ok(vm)
    }

    /// Takes a new configuration the way Envoy does: it is tried in a fresh instance first, whose callouts and metrics go
    /// nowhere; when that one accepts, a new plugin context is made in this VM for new streams. The old one stays until its
    /// streams are gone and is then asked to go (`on_done`, `on_delete`).
    pub fn configure(&mut self, configuration: &[u8]) -> Result<(), ConfigureError> {
        let state = self.state();
        let tried = canary::try_configuration(&self.module, &state.plugin, &state.host, configuration);
        tried.map_err(|(failed, log)| StartError::from_guest(failed, log))?;
        if self.health.is_dead() {
            self.state_mut().plugin.configuration = configuration.to_vec();
            return Ok(());
        }
        let root = self.state_mut().next_context();
        self.state_mut().lines = Some(Vec::new());
        let store = Self::present(&mut self.store);
        let result = instance::configure(&self.module, store, &self.exports, root, configuration);
        let log = self.state_mut().lines.take().unwrap_or_default();
        match result {
            Ok(()) => {
                self.root = root;
                self.state_mut().plugin.configuration = configuration.to_vec();
                self.state_mut().roots.retire_others(root);
            }
            Err(Failed::Trap(reason)) => {
                self.die(None, "as it took a configuration", &reason);
                return Err(StartError::Trap { reason, log });
            }
            Err(failed) => {
                self.delete_root(root);
                return Err(StartError::from_guest(failed, log));
            }
        }
        self.settle(None);
        self.retire_roots();
        Ok(())
    }

    /// The world behind the guest.
    pub fn host(&self) -> &H {
        &self.state().host
    }

    /// The world behind the guest, to change.
    pub fn host_mut(&mut self) -> &mut H {
        &mut self.state_mut().host
    }

    /// The guest has trapped and no reload has happened since.
    pub fn is_dead(&self) -> bool {
        self.health.is_dead()
    }

    /// Bytes of the guest's linear memory, which never shrinks; 0 while there is no instance.
    pub fn memory_bytes(&self) -> usize {
        let memory = self.state().guest.as_ref().map(|guest| guest.memory);
        memory.zip(self.store.as_ref()).map_or(0, |(memory, store)| memory.data_size(store))
    }

    /// How many streams are open.
    pub fn open_streams(&self) -> usize {
        self.state().streams.len()
    }

    /// A fresh instance after a trap, with the latest configuration. Metrics, shared data and the host stay. Whether it
    /// came up.
    pub(crate) fn reload(&mut self) -> bool {
        if let Some(store) = self.store.take() {
            let mut state = store.into_data();
            state.generation += 1;
            state.roots.clear();
            state.effects.clear();
            state.answer = None;
            for token in std::mem::take(&mut state.calls).into_keys() {
                state.host.cancel(token);
            }
            self.store = Some(instance::store(&self.module, state));
        }
        let store = Self::present(&mut self.store);
        let result = instance::instantiate(&self.module, store).and_then(|exports| {
            let configuration = store.data().plugin.configuration.clone();
            let root = store.data_mut().next_context();
            instance::configure(&self.module, store, &exports, root, &configuration)?;
            Ok((exports, root))
        });
        match result {
            Ok((exports, root)) => {
                (self.exports, self.root) = (exports, root);
                self.settle(None);
                true
            }
            Err(failed) => {
                self.die(None, "as it was started anew", &format!("{failed:?}"));
                false
            }
        }
    }

    /// Notes that the guest is dead: from now on no callback is made in this instance. `during` is said after "crashed".
    pub(crate) fn die(&mut self, stream: Option<StreamId>, during: &str, reason: &str) {
        self.health.die();
        self.state_mut().crashed(stream, during, reason);
    }

    /// What a call beside the callbacks needs: the module, the store, the guest's exports and its plugin context.
    pub(crate) fn parts(&mut self) -> (&Module, &mut Store<State<H>>, &Exports, u32) {
        (&self.module, Self::present(&mut self.store), &self.exports, self.root)
    }

    /// Runs one callback; a trap kills the guest.
    #[inline]
    pub(crate) fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        active: Active,
        callback: fn(&Exports) -> &Callback<P, R>,
        params: P,
        default: R,
    ) -> Result<R, Trapped> {
        let (store, callback) = (Self::present(&mut self.store), callback(&self.exports));
        match instance::call(&self.module, store, active, &callback.function, params, default) {
            Ok(result) => Ok(result),
            Err(trap) => {
                let during = format!("in {}", callback.name);
                let stream = if let Active::Stream(stream) = active { Some(stream) } else { None };
                self.die(stream, &during, &format!("{trap:?}"));
                Err(Trapped)
            }
        }
    }

    #[inline]
    pub(crate) fn state(&self) -> &State<H> {
        // The store is away only inside `reload`, which calls nothing meanwhile.
        #[allow(clippy::expect_used)]
        self.store.as_ref().expect("the store is in place outside of reload").data()
    }

    #[inline]
    pub(crate) fn state_mut(&mut self) -> &mut State<H> {
        Self::present(&mut self.store).data_mut()
    }

    /// The store; takes the field alone so that the callbacks beside it stay borrowable.
    #[inline]
    fn present(store: &mut Option<Store<State<H>>>) -> &mut Store<State<H>> {
        // The store is away only inside `reload`, which calls nothing meanwhile.
        #[allow(clippy::expect_used)]
        store.as_mut().expect("the store is in place outside of reload")
    }
}
