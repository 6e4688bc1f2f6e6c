//! One slot of the store as bytes: whose context it is, how long it lives, and what it consists of.
//!
//! ```text
//! version 1 · created, expires (u64 each, milliseconds since 1970) · id · gone · fields to the end
//! gone:  0, or 1 · since (u64) · two filters of 128 bytes
//! field: kind (0 header, 1 cookie) · name · value          each text: its length (u16), then itself
//! ```
//!
//! Numbers are little endian. Reading is strict: what is not written exactly so, by whomever, is no entry.

use super::family::Family;
use super::gone::Gone;

/// Bytes of an entry; what would take more is not kept.
pub const ENTRY_BYTES_MAX: usize = 8 * 1024;

const VERSION: u8 = 1;

/// Where a field belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A header of that name.
    Header,
    /// One pair in the `cookie` header.
    Cookie,
}

/// Something that is kept. A header with several values has as many fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) kind: Kind,
    /// Headers in lower case, cookies as they are.
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// What must stay or go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group<'a> {
    /// Headers that describe one thing between them.
    Family(Family),
    /// One name.
    Single(Kind, &'a [u8]),
}

impl<'a> Field<'a> {
    pub(crate) fn group(&self) -> Group<'a> {
        match (self.kind, Family::of(self.name)) {
            (Kind::Header, Some(family)) => Group::Family(family),
            _ => Group::Single(self.kind, self.name),
        }
    }
}

/// The context of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) created_ms: u64,
    pub(crate) expires_ms: u64,
    pub(crate) id: &'a [u8],
    /// Whose contexts had to leave this slot.
    pub(crate) gone: Option<Gone>,
    pub(crate) fields: Vec<Field<'a>>,
}

impl<'a> Entry<'a> {
    /// Reads a slot; `None` for an empty one, and for what is no entry.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (created, rest) = rest.split_first_chunk()?;
        let (expires, mut rest) = rest.split_first_chunk()?;
        let (created_ms, expires_ms) = (u64::from_le_bytes(*created), u64::from_le_bytes(*expires));
        if *version != VERSION || expires_ms < created_ms || bytes.len() > ENTRY_BYTES_MAX {
            return None;
        }
        let id = take(&mut rest).filter(|id| !id.is_empty())?;
        let (has_gone, after) = rest.split_first()?;
        rest = after;
        let gone = match has_gone {
            0 => None,
            1 => {
                let (since, after) = rest.split_first_chunk()?;
                let (now, after) = after.split_first_chunk()?;
                let (before, after) = after.split_first_chunk()?;
                rest = after;
                Some(Gone { since_ms: u64::from_le_bytes(*since), now: *now, before: *before })
            }
            _ => return None,
        };
        let mut fields = Vec::new();
        while let Some((kind, after)) = rest.split_first() {
            rest = after;
            let kind = match kind {
                0 => Kind::Header,
                1 => Kind::Cookie,
                _ => return None,
            };
            let (name, value) = (take(&mut rest)?, take(&mut rest)?);
            // No header map holds these, and none is to be made of them.
            if name.is_empty() || value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
                return None;
            }
            fields.push(Field { kind, name, value });
        }
        Some(Self { created_ms, expires_ms, id, gone, fields })
    }

    /// The bytes of the slot; `None` when there are too many.
    pub(crate) fn write(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.created_ms.to_le_bytes());
        bytes.extend(self.expires_ms.to_le_bytes());
        put(&mut bytes, self.id)?;
        bytes.push(u8::from(self.gone.is_some()));
        if let Some(Gone { since_ms, now, before }) = &self.gone {
            bytes.extend(since_ms.to_le_bytes());
            bytes.extend(now);
            bytes.extend(before);
        }
        for Field { kind, name, value } in &self.fields {
            bytes.push(match kind {
                Kind::Header => 0,
                Kind::Cookie => 1,
            });
            put(&mut bytes, name)?;
            put(&mut bytes, value)?;
        }
        (bytes.len() <= ENTRY_BYTES_MAX).then_some(bytes)
    }

    /// Whether its time has come and is not over. A clock that was set back ends it too: it was made in what is now the future.
    pub(crate) fn is_alive(&self, now_ms: u64) -> bool {
        (self.created_ms..self.expires_ms).contains(&now_ms)
    }

    /// Whether somebody may go by it. Another worker may have looked at the clock a moment later and been the first to write:
    /// what will be alive before a time to live has passed counts for whoever takes the slot.
    pub(crate) fn may_be_alive(&self, now_ms: u64) -> bool {
        let ttl_ms = self.expires_ms.saturating_sub(self.created_ms);
        (self.created_ms.saturating_sub(ttl_ms)..self.expires_ms).contains(&now_ms)
    }

    /// The values of a header that is there once.
    pub(crate) fn only(&self, name: &[u8]) -> Option<&'a [u8]> {
        let mut values = self.fields.iter().filter(|field| field.kind == Kind::Header && field.name == name);
        let first = values.next()?;
        values.next().is_none().then_some(first.value)
    }

    /// The fields of a group, in their order.
    pub(crate) fn of_group(&self, group: Group<'_>) -> impl Iterator<Item = &Field<'a>> {
        self.fields.iter().filter(move |field| field.group() == group)
    }
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (size, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*size)))?;
    *bytes = rest;
    Some(text)
}

fn put(bytes: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    bytes.extend(u16::try_from(text.len()).ok()?.to_le_bytes());
    bytes.extend_from_slice(text);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn field<'a>(kind: Kind, name: &'a str, value: &'a [u8]) -> Field<'a> {
        Field { kind, name: name.as_bytes(), value }
    }

    fn entry(value: &[u8]) -> Entry<'_> {
        let fields = vec![
            field(Kind::Header, "baggage", value),
            field(Kind::Header, "baggage", b"b=2"),
            field(Kind::Cookie, "user", b"\xff\xfe"),
        ];
        let mut gone = Gone::new(5);
        gone.add(b"another");
        Entry { created_ms: 10, expires_ms: 20, id: b"an id", gone: Some(gone), fields }
    }

    #[test]
    fn what_is_written_is_read() {
        for value in [&b""[..], b"a=1", &[b'x'; 7000]] {
            let bytes = entry(value).write().expect("room enough");
            assert_eq!(Entry::read(&bytes), Some(entry(value)));
        }
        assert_eq!(entry(&[b'x'; ENTRY_BYTES_MAX]).write(), None);
        assert_eq!(entry(&[b'x'; 70_000]).write(), None);
    }

    /// Every shorter text, every longer one, and every text with one byte changed reads as nothing or as something else,
    /// but never goes wrong.
    #[test]
    fn what_is_no_entry_is_nothing() {
        let bytes = entry(b"a=1").write().expect("short");
        let ends: Vec<_> = (0..bytes.len()).filter(|end| Entry::read(&bytes[..*end]).is_some()).collect();
        // Only between two fields.
        assert_eq!(ends.len(), 3, "{ends:?}");
        for at in 0..bytes.len() {
            for byte in [0, 1, 2, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = byte;
                if let Some(read) = Entry::read(&changed) {
                    assert_eq!(read.write().as_ref(), Some(&changed));
                }
            }
        }
        assert_eq!(Entry::read(&[bytes.clone(), vec![0]].concat()), None);
        assert_eq!(Entry::read(&[0; 100]), None);
        assert_eq!(Entry::read(&vec![1; 100_000]), None);
        let split = Entry { fields: vec![field(Kind::Header, "a", b"1\r\nb: 2")], ..entry(b"") };
        assert_eq!(split.write().as_deref().and_then(Entry::read), None);
    }

    #[test]
    fn it_lives_between_its_two_times() {
        let alive: Vec<_> = (0..40).filter(|now| entry(b"").is_alive(*now)).collect();
        assert_eq!(alive, (10..20).collect::<Vec<_>>());
    }
}
