//! What hostcalls can reach while the guest runs: the host, the open streams, the plugin contexts and the effects that wait
//! for the callback to return.

use crate::callout::CalloutAnswer;
use crate::config::PluginConfig;
use crate::exports::GuestMemory;
use crate::host::{Danger, Host};
use crate::local_reply::LocalReply;
use crate::root::Roots;
use crate::status::Status;
use crate::stream::{Stream, StreamId, Streams};
use crate::types::{Direction, LogLevel};
use std::collections::{BTreeMap, VecDeque};
use wasmtime::StoreLimits;

/// Which context a hostcall speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Active {
    /// The guest runs for no context (`_initialize`).
    Nobody,
    /// A plugin context.
    Root(u32),
    /// A stream context.
    Stream(StreamId),
}

/// Something that happens once the callback has returned.
#[derive(Debug)]
pub(crate) enum Effect {
    Resume(StreamId, Direction),
    Reply(StreamId, Box<LocalReply>),
    Close(StreamId),
    /// A plugin context has said `proxy_done` after it was asked to go.
    RootDone(u32),
}

impl Effect {
    /// Whether it is about this stream.
    pub(crate) fn concerns(&self, stream: StreamId) -> bool {
        match self {
            Effect::Resume(id, _) | Effect::Reply(id, _) | Effect::Close(id) => *id == stream,
            Effect::RootDone(_) => false,
        }
    }
}

/// The data of a wasmtime store.
pub(crate) struct State<H> {
    pub(crate) host: H,
    pub(crate) plugin: PluginConfig,
    pub(crate) guest: Option<GuestMemory>,
    pub(crate) limits: StoreLimits,
    /// Counts instances: contexts of an older one are out of reach.
    pub(crate) generation: u32,
    /// This VM's number in the shared store.
    pub(crate) vm: u64,
    pub(crate) streams: Streams,
    pub(crate) roots: Roots,
    pub(crate) active: Active,
    pub(crate) effects: VecDeque<Effect>,
    /// Configuration shown to the guest while it is being configured.
    pub(crate) configuring: Option<Vec<u8>>,
    /// The callout answer that is being delivered.
    pub(crate) answer: Option<CalloutAnswer>,
    /// For `proxy_get_status`.
    pub(crate) status: (u32, &'static str),
    /// Callouts under way, and the plugin context each belongs to.
    pub(crate) calls: BTreeMap<u32, u32>,
    pub(crate) last_context: u32,
    pub(crate) last_token: u32,
    /// Log lines kept for an error message while the guest starts.
    pub(crate) lines: Option<Vec<String>>,
    /// The guest has put something in a queue since the queues were last looked at.
    pub(crate) queued: bool,
}

/// Envoy's limit on a guest's memory: 16384 pages.
const MEMORY_BYTES_MAX: usize = 1 << 30;

impl<H: Host> State<H> {
    pub(crate) fn new(host: H, plugin: PluginConfig) -> Self {
        State {
            host,
            guest: None,
            limits: limits(),
            generation: 0,
            vm: plugin.shared.join(),
            plugin,
            streams: Streams::default(),
            roots: Roots::default(),
            active: Active::Nobody,
            effects: VecDeque::new(),
            configuring: None,
            answer: None,
            status: (0, ""),
            calls: BTreeMap::new(),
            last_context: 0,
            last_token: 0,
            lines: None,
            queued: false,
        }
    }

    pub(crate) fn next_context(&mut self) -> u32 {
        self.last_context = self.last_context.wrapping_add(1);
        self.last_context
    }

    /// The stream the guest speaks for, if it is one.
    pub(crate) fn stream_id(&self) -> Option<StreamId> {
        match self.active {
            Active::Stream(id) => Some(id),
            Active::Nobody | Active::Root(_) => None,
        }
    }

    pub(crate) fn stream(&self) -> Option<&Stream> {
        self.stream_id().and_then(|id| self.streams.get(id))
    }

    pub(crate) fn stream_mut(&mut self) -> Option<&mut Stream> {
        let id = self.stream_id()?;
        self.streams.get_mut(id)
    }

    /// The plugin context that the guest speaks for or whose stream it speaks for.
    pub(crate) fn root_id(&self) -> Result<u32, Status> {
        match self.active {
            Active::Root(id) => Ok(id),
            Active::Stream(id) => self.streams.get(id).map(|stream| stream.root).ok_or(Status::BadArgument),
            Active::Nobody => Err(Status::BadArgument),
        }
    }

    pub(crate) fn danger(&mut self, danger: Danger) {
        let stream = self.stream_id();
        self.host.danger(stream, danger);
    }

    pub(crate) fn crashed(&mut self, stream: Option<StreamId>, during: &str, reason: &str) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("the filter crashed {during}: {reason}"));
        }
        self.host.crashed(stream, during, reason);
    }

    pub(crate) fn log(&mut self, level: LogLevel, message: &str) {
        if let Some(lines) = &mut self.lines {
            lines.push(message.to_owned());
        }
        if level >= self.host.level() {
            self.host.log(level, message);
        }
    }

    /// Looks at the effects that a callback has added (from place `since` on) about its own stream: whether the guest
    /// resumed the very direction the callback decides about, which is taken out, and whether the stream ends here.
    pub(crate) fn own_effects(&mut self, since: usize, id: StreamId, direction: Direction) -> (bool, bool) {
        if self.effects.len() <= since {
            return (false, false);
        }
        let (mut resumed, mut ends, mut at) = (false, false, 0);
        self.effects.retain(|effect| {
            at += 1;
            match effect {
                _ if at <= since => true,
                Effect::Resume(other, way) if *other == id && *way == direction => {
                    resumed = true;
                    false
                }
                Effect::Reply(other, _) | Effect::Close(other) => {
                    ends |= *other == id;
                    true
                }
                _ => true,
            }
        });
        if resumed {
            self.host.danger(Some(id), Danger::ResumeInOwnCallback);
        }
        (resumed, ends)
    }
}

/// Limits for one instance.
pub(crate) fn limits() -> StoreLimits {
    wasmtime::StoreLimitsBuilder::new().memory_size(MEMORY_BYTES_MAX).build()
}
