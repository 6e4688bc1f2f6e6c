//! The host's encoding of a header map (Proxy-Wasm ABI, "Serialized map"), read in place.
//!
//! ```text
//! count, then for each pair: length of name, length of value     (all u32, little endian)
//! then for each pair: name, 0, value, 0
//! ```

/// Name and value, as bytes.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// The pairs of an encoded map, in order. Whatever does not fit the encoding ends the list: a host that writes nonsense
/// must not be able to trap the filter.
pub fn read(encoded: &[u8]) -> Vec<Pair<'_>> {
    let Some((count, rest)) = take_u32(encoded) else { return Vec::new() };
    // Each pair takes at least ten bytes, so a wrong count cannot reserve more than the buffer justifies.
    let count = count.min(encoded.len() / 10);
    let Some((mut sizes, mut data)) = rest.split_at_checked(count.saturating_mul(8)) else { return Vec::new() };
    let mut pairs = Vec::with_capacity(count);
    while let Some(pair) = next(&mut sizes, &mut data) {
        pairs.push(pair);
    }
    pairs
}

/// Encodes pairs.
pub fn write(pairs: &[Pair<'_>]) -> Vec<u8> {
    // A wasm32 module has no slice longer than a u32 can say.
    let size = |length: usize| u32::try_from(length).unwrap_or_default().to_le_bytes();
    let mut encoded = size(pairs.len()).to_vec();
    for (name, value) in pairs {
        encoded.extend(size(name.len()));
        encoded.extend(size(value.len()));
    }
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        encoded.extend_from_slice(text);
        encoded.push(0);
    }
    encoded
}

fn next<'a>(sizes: &mut &'a [u8], data: &mut &'a [u8]) -> Option<Pair<'a>> {
    let (name_size, rest) = take_u32(sizes)?;
    let (value_size, rest) = take_u32(rest)?;
    *sizes = rest;
    let name = take_text(data, name_size)?;
    let value = take_text(data, value_size)?;
    Some((name, value))
}

fn take_u32(from: &[u8]) -> Option<(usize, &[u8])> {
    let (bytes, rest) = from.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*bytes)).ok()?, rest))
}

/// Takes `size` bytes and the zero behind them.
fn take_text<'a>(data: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (text, rest) = data.split_at_checked(size)?;
    *data = rest.get(1..)?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_back_as_bytes_and_repeated_names_stay() {
        let pairs: &[Pair<'_>] = &[(b":path", b"/"), (b"x", b"1"), (b"x", b"\xff\xfe"), (b"empty", b"")];
        assert_eq!(read(&write(pairs)), pairs);
        assert_eq!(read(&write(&[])), []);
    }

    #[test]
    fn nonsense_ends_the_list() {
        let whole = write(&[(b"a", b"1"), (b"b", b"2")]);
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).len() < 2, "{end}");
        }
        assert_eq!(read(&[0xff; 64]), []);
        assert_eq!(read(b""), []);
    }
}
