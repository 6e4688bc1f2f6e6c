//! An ordered header list in one allocation. Names and values lie in a single byte arena, so that a map can be made, moved
//! and cloned cheaply: the simulator does this hundreds of thousands of times a second.
//!
//! Rules taken from Envoy: names are lower case; pseudo headers (`:path`) stand first and exist once, as `accept` and others
//! of `singular` do (adding one again joins the values with a comma); `set` removes every old entry of that name; values
//! are bytes, not text.

use crate::singular::Side;

/// Where one entry lies in the arena: the value follows the name.
#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u32,
    name: u32,
    value: u32,
}

impl Entry {
    fn len(self) -> usize {
        self.name as usize + self.value as usize
    }
}

/// Headers or trailers in wire order.
///
/// ```
/// let mut headers = host_abi::HeaderMap::from([(":method", "GET"), ("X-User", "a"), ("x-user", "b")]);
/// assert_eq!(headers.get("x-user"), Some(&b"a"[..]));
/// headers.set("x-user", "c");
/// assert_eq!(headers.len(), 2);
/// ```
#[derive(Clone, Default)]
pub struct HeaderMap {
    arena: Vec<u8>,
    entries: Vec<Entry>,
    /// Bytes of the arena that no entry uses any more.
    dead: usize,
}

/// A map is squeezed when more than this many bytes, and more than half of the arena, are dead.
const SLACK: usize = 1024;

impl HeaderMap {
    /// An empty map without allocation.
    pub const fn new() -> Self {
        HeaderMap { arena: Vec::new(), entries: Vec::new(), dead: 0 }
    }

    /// An empty map with room for so many entries and bytes of names and values.
    pub fn with_capacity(entries: usize, bytes: usize) -> Self {
        HeaderMap { arena: Vec::with_capacity(bytes), entries: Vec::with_capacity(entries), dead: 0 }
    }

    /// How many entries there are, repeated names counted each.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets all entries and keeps the memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.entries.clear();
        self.dead = 0;
    }

    /// All entries in order as (name, value).
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|&entry| self.pair(entry))
    }

    /// The value of the first entry with this name. The name may be in any case.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let name = name.as_ref();
        self.entries
            .iter()
            .map(|&entry| self.pair(entry))
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    }

    /// The value of the first entry with this name, if it is UTF-8.
    pub fn get_str(&self, name: impl AsRef<[u8]>) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all entries with this name, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Adds an entry and leaves those of the same name. A pseudo header that exists, or another that Envoy keeps once, gets
    /// the value joined by a comma; a map is a request's or a response's by its pseudo headers.
    pub fn append(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (name, value) = (name.as_ref(), value.as_ref());
        // Most names are new, and then nobody asks which they are.
        if let Some(at) = self.entries.iter().position(|entry| self.is_named(*entry, name))
            && self.side().has_one(name)
        {
            let old = self.entries.get(at).map(|entry| self.pair(*entry).1).unwrap_or_default();
            // As in Envoy, an empty value brings no comma, on either side of it.
            let comma: &[u8] = if old.is_empty() || value.is_empty() { b"" } else { b"," };
            let joined = [old, comma, value].concat();
            let entry = self.store(name, &joined);
            if let Some(place) = self.entries.get_mut(at) {
                self.dead += place.len();
                *place = entry;
            }
            return;
        }
        if name.first() != Some(&b':') {
            let entry = self.store(name, value);
            self.entries.push(entry);
            return;
        }
        let first_plain = self.iter().take_while(|(own, _)| own.first() == Some(&b':')).count();
        let entry = self.store(name, value);
        self.entries.insert(first_plain, entry);
    }

    /// Makes this the only entry of that name: the old ones go, the new one stands last (a pseudo header among its like).
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.remove(name.as_ref());
        self.append(name, value);
    }

    /// Removes every entry of that name and says how many there were.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) -> usize {
        let (name, arena) = (name.as_ref(), &self.arena);
        let (before, mut freed) = (self.entries.len(), 0);
        self.entries.retain(|entry| {
            let own = slice(arena, entry.at, entry.name);
            let keep = !own.eq_ignore_ascii_case(name);
            if !keep {
                freed += entry.len();
            }
            keep
        });
        self.dead += freed;
        if self.dead > SLACK && self.dead * 2 > self.arena.len() {
            *self = self.iter().collect();
        }
        before - self.entries.len()
    }

    /// The first entry that must not be written to a connection: a name with other than token characters, or a value with
    /// CR, LF or NUL. Envoy answers 503 to such a request and does not look at responses; a host should refuse both.
    pub fn first_invalid(&self) -> Option<(&[u8], &[u8])> {
        self.iter().find(|(name, value)| {
            let token = name.strip_prefix(b":").unwrap_or(name);
            token.is_empty()
                || !token.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
                || value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'))
        })
    }

    fn is_named(&self, entry: Entry, name: &[u8]) -> bool {
        entry.name as usize == name.len() && slice(&self.arena, entry.at, entry.name).eq_ignore_ascii_case(name)
    }

    fn side(&self) -> Side {
        Side::of(self.entries.first().map(|entry| self.pair(*entry).0))
    }

    fn pair(&self, entry: Entry) -> (&[u8], &[u8]) {
        (slice(&self.arena, entry.at, entry.name), slice(&self.arena, entry.at.saturating_add(entry.name), entry.value))
    }

    /// The first entry makes room for a usual head at once; growing step by step costs more than all else here.
    #[cold]
    fn make_room(&mut self) {
        self.arena.reserve(512);
        self.entries.reserve(16);
    }

    /// Writes name (lower case) and value to the end of the arena. An arena beyond 4 GiB keeps an empty entry instead.
    fn store(&mut self, name: &[u8], value: &[u8]) -> Entry {
        let end = self.arena.len() + name.len() + value.len();
        if u32::try_from(end).is_err() {
            return Entry { at: 0, name: 0, value: 0 };
        }
        if self.arena.capacity() == 0 {
            self.make_room();
        }
        let at = self.arena.len();
        self.arena.extend_from_slice(name);
        if name.iter().any(u8::is_ascii_uppercase)
            && let Some(stored) = self.arena.get_mut(at..)
        {
            stored.make_ascii_lowercase();
        }
        self.arena.extend_from_slice(value);
        Entry { at: at as u32, name: name.len() as u32, value: value.len() as u32 }
    }
}

fn slice(arena: &[u8], at: u32, len: u32) -> &[u8] {
    arena.get(at as usize..at as usize + len as usize).unwrap_or_default()
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for HeaderMap {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut map = HeaderMap::new();
        map.extend(pairs);
        map
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Extend<(N, V)> for HeaderMap {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, pairs: I) {
        for (name, value) in pairs {
            self.append(name, value);
        }
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>, const COUNT: usize> From<[(N, V); COUNT]> for HeaderMap {
    fn from(pairs: [(N, V); COUNT]) -> Self {
        pairs.into_iter().collect()
    }
}

impl PartialEq for HeaderMap {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for HeaderMap {}

impl std::fmt::Debug for HeaderMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, value)| (name.escape_ascii(), value.escape_ascii()))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(map: &HeaderMap) -> String {
        map.iter().map(|(n, v)| format!("{}={} ", String::from_utf8_lossy(n), String::from_utf8_lossy(v))).collect()
    }

    #[test]
    fn names_are_lower_cased_and_values_kept() {
        assert_eq!(text(&HeaderMap::from([("X-Kind", "MiXed")])), "x-kind=MiXed ");
    }

    #[test]
    fn get_gives_the_first_of_repeated_headers() {
        let map = HeaderMap::from([("cookie", "a"), ("cookie", "b")]);
        assert_eq!(map.get("Cookie"), Some(&b"a"[..]));
        assert_eq!(map.get_all("cookie").count(), 2);
    }

    #[test]
    fn set_replaces_all_of_that_name() {
        let mut map = HeaderMap::from([("a", "1"), ("b", "2"), ("A", "3")]);
        map.set("a", "4");
        assert_eq!(text(&map), "b=2 a=4 ");
    }

    #[test]
    fn pseudo_headers_stand_first_and_once() {
        let mut map = HeaderMap::from([("a", "1"), (":path", "/"), (":method", "GET")]);
        map.append(":path", "/x");
        map.set(":method", "PUT");
        assert_eq!(text(&map), ":path=/,/x :method=PUT a=1 ");
    }

    #[test]
    fn what_envoy_keeps_once_is_joined_where_it_stands() {
        let mut request = HeaderMap::from([(":path", "/"), ("accept", "a"), ("cookie", "1"), ("vary", "x")]);
        request.extend([("Accept", "b"), ("cookie", "2"), ("vary", "y")]);
        assert_eq!(text(&request), ":path=/ accept=a,b cookie=1 vary=x cookie=2 vary=y ");
        let response: HeaderMap = [(":status", "200"), ("vary", ""), ("vary", "y"), ("vary", ""), ("accept", "a")]
            .into_iter()
            .chain([("accept", "b")])
            .collect();
        assert_eq!(text(&response), ":status=200 vary=y accept=a accept=b ");
        let trailers = HeaderMap::from([("grpc-status", "0"), ("grpc-status", "1")]);
        assert_eq!(trailers.len(), 2);
    }

    #[test]
    fn a_map_written_for_ever_stays_small() {
        let mut map = HeaderMap::from([("keep", "me")]);
        for round in 0..10_000 {
            map.set("x", format!("value {round}"));
        }
        assert!(map.arena.len() < 4 * SLACK);
        assert_eq!(text(&map), "keep=me x=value 9999 ");
    }

    #[test]
    fn line_breaks_and_odd_names_are_found() {
        assert!(HeaderMap::from([("a", "x\r\nb: c")]).first_invalid().is_some());
        assert!(HeaderMap::from([("a b", "x")]).first_invalid().is_some());
        assert!(HeaderMap::from([(":path", "/"), ("a", "\u{e9}")]).first_invalid().is_none());
    }
}
