//! One HTTP stream as the guest's context sees it, and the table of all of them. The table is a slab: a stream is found by
//! its place, and its context id proves that it is still the same one.

use crate::half::Half;
use crate::types::Direction;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Names one open stream of one VM. It goes stale when the stream is closed; a stale id is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    pub(crate) context: u32,
    pub(crate) slot: u32,
}

impl StreamId {
    /// The number the guest knows this stream by: from one counter per VM, never used again.
    pub fn context_id(self) -> u32 {
        self.context
    }
}

/// How a stream came to its end before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A local reply stands in the response direction.
    Reply(Cow<'static, str>),
    /// Cut off.
    Reset(Cow<'static, str>),
}

/// Who answers the callbacks of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serving {
    /// The guest.
    Guest,
    /// Nobody: the guest is dead and the policy lets traffic pass.
    Bypass,
    /// Nobody: the guest is dead and the policy refuses.
    Refuse,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    /// Context id of the plugin context it belongs to.
    pub(crate) root: u32,
    /// The instance it was opened in; another instance knows nothing of it.
    pub(crate) generation: u32,
    pub(crate) serving: Serving,
    pub(crate) request: Half,
    pub(crate) response: Half,
    /// Set by the guest: path joined by zero bytes, and value.
    pub(crate) properties: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) ending: Option<Ending>,
    /// The ending has been told to the world.
    pub(crate) told: bool,
    /// `on_log` runs: all maps can be read, none written.
    pub(crate) logging: bool,
    /// `on_log` or later: nothing can be resumed or answered.
    pub(crate) over: bool,
    /// The guest wrote a request header or asked for it: the route must be chosen again.
    pub(crate) route_cleared: bool,
}

impl Stream {
    pub(crate) fn half(&mut self, direction: Direction) -> &mut Half {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }
}

/// All open streams of a VM.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    slots: Vec<Option<Box<Stream>>>,
    free: Vec<u32>,
    by_context: BTreeMap<u32, u32>,
}

impl Streams {
    pub(crate) fn open(&mut self, context: u32, root: u32, generation: u32, serving: Serving) -> StreamId {
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        let id = StreamId { context, slot };
        let stream = Box::new(Stream {
            id,
            root,
            generation,
            serving,
            request: Half::default(),
            response: Half::default(),
            properties: Vec::new(),
            ending: None,
            told: false,
            logging: false,
            over: false,
            route_cleared: false,
        });
        match self.slots.get_mut(slot as usize) {
            Some(place) => *place = Some(stream),
            None => self.slots.push(Some(stream)),
        }
        self.by_context.insert(context, slot);
        id
    }

    #[inline]
    pub(crate) fn get(&self, id: StreamId) -> Option<&Stream> {
        self.slots.get(id.slot as usize)?.as_deref().filter(|stream| stream.id == id)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.slots.get_mut(id.slot as usize)?.as_deref_mut().filter(|stream| stream.id == id)
    }

    pub(crate) fn find(&self, context: u32) -> Option<StreamId> {
        self.by_context.get(&context).map(|&slot| StreamId { context, slot })
    }

    pub(crate) fn close(&mut self, id: StreamId) -> Option<Box<Stream>> {
        self.get(id)?;
        self.by_context.remove(&id.context);
        self.free.push(id.slot);
        self.slots.get_mut(id.slot as usize)?.take()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_context.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_finds_nothing() {
        let mut streams = Streams::default();
        let first = streams.open(2, 1, 0, Serving::Guest);
        streams.close(first).unwrap();
        let second = streams.open(3, 1, 0, Serving::Guest);
        assert_eq!(first.slot, second.slot);
        assert!(streams.get(first).is_none());
        assert!(streams.close(first).is_none());
        assert_eq!(streams.find(3), Some(second));
        assert_eq!(streams.find(2), None);
        assert_eq!(streams.len(), 1);
    }
}
