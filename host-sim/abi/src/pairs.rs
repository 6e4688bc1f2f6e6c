//! How a header list crosses the guest's border: a count, then the lengths of each name and value, then the bytes, each
//! closed by a zero. Numbers are little endian u32. The guest is not trusted: any bytes decode to a list or to an error.

use crate::headers::HeaderMap;
use crate::status::Status;

/// Bytes that [`encode`] needs for this map.
pub(crate) fn encoded_len(map: &HeaderMap) -> usize {
    4 + map.iter().map(|(name, value)| name.len() + value.len() + 10).sum::<usize>()
}

/// Writes the map into a slice of exactly [`encoded_len`] bytes; any other size is refused.
pub(crate) fn encode(map: &HeaderMap, into: &mut [u8]) -> Result<(), Status> {
    let mut sizes = 4 + map.len() * 8;
    let (head, mut bytes) = into.split_at_mut_checked(sizes).ok_or(Status::InternalFailure)?;
    let mut head = head.chunks_exact_mut(4);
    let mut number = |n: usize| match head.next() {
        Some(slot) => slot.copy_from_slice(&(n as u32).to_le_bytes()),
        None => sizes = 0,
    };
    number(map.len());
    for (name, value) in map.iter() {
        number(name.len());
        number(value.len());
        for part in [name, value] {
            let (slot, rest) = bytes.split_at_mut_checked(part.len() + 1).ok_or(Status::InternalFailure)?;
            if let Some((zero, text)) = slot.split_last_mut() {
                text.copy_from_slice(part);
                *zero = 0;
            }
            bytes = rest;
        }
    }
    if bytes.is_empty() { Ok(()) } else { Err(Status::InternalFailure) }
}

/// Reads a list. No bytes at all is an empty list, as Envoy takes it; bytes after the last pair are ignored.
pub(crate) fn decode(bytes: &[u8]) -> Result<HeaderMap, Status> {
    if bytes.is_empty() {
        return Ok(HeaderMap::new());
    }
    let (count, rest) = number(bytes)?;
    let sizes = count.checked_mul(8).ok_or(Status::ParseFailure)?;
    let (mut sizes, mut data) = rest.split_at_checked(sizes).ok_or(Status::ParseFailure)?;
    let mut map = HeaderMap::with_capacity(count, data.len());
    for _ in 0..count {
        let (name_len, next) = number(sizes)?;
        let (value_len, next) = number(next)?;
        sizes = next;
        let (name, next) = text(data, name_len)?;
        let (value, next) = text(next, value_len)?;
        data = next;
        map.append(name, value);
    }
    Ok(map)
}

fn number(bytes: &[u8]) -> Result<(usize, &[u8]), Status> {
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or(Status::ParseFailure)?;
    Ok((u32::from_le_bytes(*number) as usize, rest))
}

fn text(bytes: &[u8], len: usize) -> Result<(&[u8], &[u8]), Status> {
    let (text, rest) = bytes.split_at_checked(len).ok_or(Status::ParseFailure)?;
    match rest.split_first() {
        Some((0, rest)) => Ok((text, rest)),
        _ => Err(Status::ParseFailure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(map: &HeaderMap) -> Vec<u8> {
        let mut out = vec![0xff; encoded_len(map)];
        encode(map, &mut out).unwrap();
        out
    }

    #[test]
    fn pairs_have_the_layout_of_the_abi() {
        let encoded = bytes(&HeaderMap::from([("ab", "c"), ("d", "")]));
        assert_eq!(encoded, b"\x02\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0ab\0c\0d\0\0");
    }

    #[test]
    fn pairs_come_back_as_they_went() {
        let map = HeaderMap::from([(&b":path"[..], &b"/\xff\xfe"[..]), (b"x", b""), (b"x", b"2")]);
        assert_eq!(decode(&bytes(&map)).unwrap(), map);
        assert!(decode(&[]).unwrap().is_empty());
        assert!(decode(&[0; 4]).unwrap().is_empty());
    }

    #[test]
    fn damaged_pairs_are_refused_not_trusted() {
        let good = bytes(&HeaderMap::from([("name", "value")]));
        for len in 1..good.len() {
            assert_eq!(decode(&good[..len]), Err(Status::ParseFailure), "{len} bytes");
        }
        assert_eq!(decode(&[0xff; 64]), Err(Status::ParseFailure));
    }

    #[test]
    fn a_slice_of_the_wrong_size_is_refused() {
        let map = HeaderMap::from([("name", "value")]);
        for size in [0, 3, 20, encoded_len(&map) + 1] {
            assert!(encode(&map, &mut vec![0; size]).is_err());
        }
    }
}
