//! Hosts for the compiled filter: a quiet one for `host-abi`, and one that only counts what the guest calls.

use host_abi::{
    Callout, CalloutError, Callouts, Clock, Entropy, Log, LogLevel, MetricError, MetricKind, MetricStore, Metrics,
    Properties, StreamId,
};
use serde_json::Value;
use std::collections::BTreeMap;
use wasmtime::{Caller, Engine, Instance, Linker, Module, Store, Val};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.draw() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.draw().to_le_bytes()[0]
    }

    pub(crate) fn bytes(&mut self, max: usize) -> Vec<u8> {
        (0..self.below(max)).map(|_| self.byte()).collect()
    }
}

/// A world in which nothing happens but that time passes when it is told to; chance comes from a seed.
pub(crate) struct World {
    random: Random,
    pub(crate) lines: Vec<String>,
    metrics: MetricStore,
    seconds: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random(seed), lines: Vec::new(), metrics: MetricStore::new(), seconds: 0 }
    }

    /// So many seconds pass.
    pub(crate) fn pass(&mut self, seconds: u64) {
        self.seconds += seconds;
    }

    pub(crate) fn gauge(&self, name: &str) -> u64 {
        self.metrics.gauge(name)
    }
}

impl Clock for World {
    fn realtime_ns(&self) -> u64 {
        (1 + self.seconds) * 1_000_000_000
    }
    fn monotonic_ns(&self) -> u64 {
        self.seconds * 1_000_000_000
    }
}

impl Entropy for World {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte = self.random.byte());
    }
}

impl Log for World {
    fn log(&mut self, _: LogLevel, message: &str) {
        self.lines.push(message.to_owned());
    }
}

impl Metrics for World {
    fn define(&mut self, kind: MetricKind, name: &str) -> u32 {
        self.metrics.define(kind, name)
    }
    fn increment(&mut self, id: u32, offset: i64) -> Result<(), MetricError> {
        self.metrics.increment(id, offset)
    }
    fn record(&mut self, id: u32, value: u64) -> Result<(), MetricError> {
        self.metrics.record(id, value)
    }
    fn get(&self, id: u32) -> Result<u64, MetricError> {
        self.metrics.get(id)
    }
}

impl Properties for World {
    fn property(&self, _: Option<StreamId>, _: &[&[u8]]) -> Option<Vec<u8>> {
        None
    }
}

impl Callouts for World {
    fn dispatch(&mut self, _: u32, _: Callout<'_>) -> Result<(), CalloutError> {
        Err(CalloutError::UnknownCluster)
    }
}

/// A host that answers "ok" to every hostcall, hands out configuration and header pairs, and counts.
pub(crate) struct Counting {
    store: Store<Calls>,
    instance: Instance,
}

#[derive(Default)]
struct Calls {
    counts: BTreeMap<String, u32>,
    configuration: Vec<u8>,
    pairs: Vec<u8>,
}

const ROOT: i32 = 1;
const STREAM: i32 = 2;

impl Counting {
    pub(crate) fn start(module: &[u8], configuration: &[u8]) -> Self {
        let engine = Engine::default();
        let module = Module::new(&engine, module).expect("a module");
        let mut linker: Linker<Calls> = Linker::new(&engine);
        for import in module.imports() {
            let kind = import.ty().func().expect("the filter imports functions only").clone();
            let name = import.name().to_owned();
            let hostcall = move |caller: Caller<'_, Calls>, arguments: &[Val], results: &mut [Val]| {
                answer(caller, &name, arguments);
                results.iter_mut().for_each(|result| *result = Val::I32(0));
                Ok(())
            };
            linker.func_new(import.module(), import.name(), kind, hostcall).expect("a hostcall");
        }
        let mut store = Store::new(&engine, Calls { configuration: configuration.to_vec(), ..Calls::default() });
        let instance = linker.instantiate(&mut store, &module).expect("an instance");
        let mut guest = Self { store, instance };
        guest.call("_initialize", &[]);
        guest.call("proxy_on_context_create", &[ROOT, 0]);
        assert_eq!(guest.call("proxy_on_vm_start", &[ROOT, 0]), 1);
        let size = i32::try_from(configuration.len()).expect("a small configuration");
        assert_eq!(guest.call("proxy_on_configure", &[ROOT, size]), 1, "the configuration is taken");
        guest.call("proxy_on_context_create", &[STREAM, ROOT]);
        guest
    }

    /// What the filter says to a request head, and its hostcalls meanwhile.
    pub(crate) fn request(&mut self, head: &[(&str, &str)]) -> (i32, BTreeMap<String, u32>) {
        let number = |size: usize| u32::try_from(size).expect("a small head").to_le_bytes();
        let mut pairs = number(head.len()).to_vec();
        head.iter().for_each(|(name, value)| pairs.extend([number(name.len()), number(value.len())].concat()));
        head.iter().for_each(|(name, value)| pairs.extend(format!("{name}\0{value}\0").bytes()));
        self.store.data_mut().pairs = pairs;
        self.store.data_mut().counts.clear();
        let count = i32::try_from(head.len()).expect("a small head");
        let action = self.call("proxy_on_request_headers", &[STREAM, count, 1]);
        (action, std::mem::take(&mut self.store.data_mut().counts))
    }

    /// The answer comes and the stream ends; how many hostcalls that takes.
    pub(crate) fn rest_of_stream(&mut self) -> u32 {
        self.call("proxy_on_response_headers", &[STREAM, 1, 1]);
        self.call("proxy_on_done", &[STREAM]);
        self.call("proxy_on_log", &[STREAM]);
        self.call("proxy_on_delete", &[STREAM]);
        self.store.data().counts.values().sum()
    }

    /// Calls an export if it is there; its result, or 0.
    fn call(&mut self, name: &str, arguments: &[i32]) -> i32 {
        let Some(export) = self.instance.get_func(&mut self.store, name) else { return 0 };
        let arguments: Vec<Val> = arguments.iter().map(|argument| Val::I32(*argument)).collect();
        let mut results = vec![Val::I32(0); export.ty(&self.store).results().len()];
        export.call(&mut self.store, &arguments, &mut results).expect("no trap");
        results.first().and_then(Val::i32).unwrap_or_default()
    }
}

/// Counts a hostcall, and hands over what it asks for.
fn answer(mut caller: Caller<'_, Calls>, name: &str, arguments: &[Val]) {
    *caller.data_mut().counts.entry(name.to_owned()).or_default() += 1;
    let argument = |place: usize| arguments[place].unwrap_i32();
    let (bytes, at) = match name {
        "proxy_get_buffer_bytes" => (caller.data().configuration.clone(), [argument(3), argument(4)]),
        "proxy_get_header_map_pairs" => (caller.data().pairs.clone(), [argument(1), argument(2)]),
        _ => return,
    };
    let size = i32::try_from(bytes.len()).expect("a small buffer");
    let allocate = ["proxy_on_memory_allocate", "malloc"].into_iter().find_map(|name| caller.get_export(name));
    let allocate = allocate.and_then(wasmtime::Extern::into_func).expect("an allocator");
    let mut place = [Val::I32(0)];
    allocate.call(&mut caller, &[Val::I32(size)], &mut place).expect("no trap");
    let memory = caller.get_export("memory").and_then(wasmtime::Extern::into_memory).expect("a memory");
    let place = place[0].unwrap_i32();
    let mut write = |at: i32, bytes: &[u8]| {
        memory.write(&mut caller, usize::try_from(at.cast_unsigned()).expect("an address"), bytes).expect("inside");
    };
    write(place, &bytes);
    write(at[0], &place.to_le_bytes());
    write(at[1], &size.to_le_bytes());
}

/// A JSON object as an encoded `google.protobuf.Struct`.
pub(crate) fn protobuf_struct(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in value.as_object().expect("an object") {
        let entry = [field(1, key.as_bytes()), field(2, &protobuf_value(value))].concat();
        out.extend(field(1, &entry));
    }
    out
}

fn protobuf_value(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => vec![1 << 3, 0],
        Value::Number(number) => [&[2 << 3 | 1][..], &number.as_f64().expect("a number").to_le_bytes()].concat(),
        Value::String(text) => field(3, text.as_bytes()),
        Value::Bool(truth) => vec![4 << 3, u8::from(*truth)],
        Value::Object(_) => field(5, &protobuf_struct(value)),
        Value::Array(items) => {
            field(6, &items.iter().flat_map(|item| field(1, &protobuf_value(item))).collect::<Vec<_>>())
        }
    }
}

/// A field with a length.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).expect("seven bits"));
    out.extend(bytes);
    out
}
