//! `google.protobuf.Struct` to JSON: Envoy hands a plugin configuration of that type over undecoded.

use crate::compact;
use serde_json::{Number, Value};

/// Levels a Struct may nest.
const DEPTH_MAX: usize = 100;

/// Decodes a Struct. `None` when the bytes are not one. Numbers, which a Struct only knows as doubles, become whole
/// where they are.
pub fn decode_struct(bytes: &[u8]) -> Option<Value> {
    structure(bytes, DEPTH_MAX)
}

/// One field of a message: its number and what it holds.
enum Field<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
}

fn structure(bytes: &[u8], depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut fields = Vec::new();
    each_field(bytes, |number, field| match (number, field) {
        (1, Field::Bytes(entry)) => {
            let (mut key, mut value) = (String::new(), Value::Null);
            each_field(entry, |number, field| {
                match (number, field) {
                    (1, Field::Bytes(bytes)) => key = String::from_utf8(bytes.to_vec()).ok()?,
                    (2, Field::Bytes(bytes)) => value = one_value(bytes, depth)?,
                    _ => return None,
                }
                Some(())
            })?;
            fields.push((key, value));
            Some(())
        }
        _ => None,
    })?;
    Some(compact::object(fields))
}

fn one_value(bytes: &[u8], depth: usize) -> Option<Value> {
    let mut value = Value::Null;
    each_field(bytes, |number, field| {
        value = match (number, field) {
            (1, Field::Varint(_)) => Value::Null,
            (2, Field::Fixed64(bytes)) => self::number(f64::from_le_bytes(bytes))?,
            (3, Field::Bytes(bytes)) => Value::String(String::from_utf8(bytes.to_vec()).ok()?),
            (4, Field::Varint(truth)) => Value::Bool(truth != 0),
            (5, Field::Bytes(bytes)) => structure(bytes, depth)?,
            (6, Field::Bytes(bytes)) => list(bytes, depth)?,
            _ => return None,
        };
        Some(())
    })?;
    Some(value)
}

fn list(bytes: &[u8], depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut items = Vec::new();
    each_field(bytes, |number, field| match (number, field) {
        (1, Field::Bytes(bytes)) => {
            items.push(one_value(bytes, depth)?);
            Some(())
        }
        _ => None,
    })?;
    Some(compact::list(items))
}

/// A double as JSON, whole where it is.
pub(crate) fn number(double: f64) -> Option<Value> {
    /// Doubles hold every whole number up to here.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    let whole = double.fract() == 0.0 && double.abs() <= WHOLE_MAX;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
    let number = if whole { Some(Number::from(double as i64)) } else { Number::from_f64(double) };
    number.map(Value::Number)
}

/// Calls `visit` for each field of a message; `None` when the bytes are no message or `visit` says so.
fn each_field(mut bytes: &[u8], mut visit: impl FnMut(u64, Field<'_>) -> Option<()>) -> Option<()> {
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let field = match tag & 7 {
            0 => Field::Varint(varint(&mut bytes)?),
            1 => {
                let (fixed, rest) = bytes.split_first_chunk()?;
                bytes = rest;
                Field::Fixed64(*fixed)
            }
            2 => {
                let size = usize::try_from(varint(&mut bytes)?).ok()?;
                let (inner, rest) = bytes.split_at_checked(size)?;
                bytes = rest;
                Field::Bytes(inner)
            }
            _ => return None,
        };
        visit(tag >> 3, field)?;
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(fields: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, inner) in fields {
            out.push(number << 3 | 2);
            assert!(inner.len() < 128, "test data stays short");
            out.push(u8::try_from(inner.len()).unwrap());
            out.extend(inner);
        }
        out
    }

    fn entry(key: &str, value: Vec<u8>) -> (u8, Vec<u8>) {
        (1, message(&[(1, key.into()), (2, value)]))
    }

    fn double(number: f64) -> Vec<u8> {
        [&[2 << 3 | 1][..], &number.to_le_bytes()].concat()
    }

    #[test]
    fn every_kind_of_value_is_decoded() {
        let text = message(&[(3, b"v".to_vec())]);
        let list = message(&[(6, message(&[(1, text.clone()), (1, vec![4 << 3, 1])]))]);
        let bytes = message(&[
            entry("text", text.clone()),
            entry("whole", double(80.0)),
            entry("broken", double(0.5)),
            entry("list", list),
            entry("inner", message(&[(5, message(&[entry("null", vec![1 << 3, 0])]))])),
        ]);
        let expected = json!({"text": "v", "whole": 80, "broken": 0.5, "list": ["v", true], "inner": {"null": null}});
        assert_eq!(decode_struct(&bytes), Some(expected));
    }

    #[test]
    fn anything_else_is_refused_without_harm() {
        let whole = message(&[entry("a", double(1.0))]);
        for end in 1..whole.len() {
            assert_eq!(decode_struct(&whole[..end]), None, "{end}");
        }
        assert_eq!(decode_struct(b"{}"), None);
        assert_eq!(decode_struct(&[0xff; 32]), None);
        let nested =
            (0..50).fold(
                double(1.0),
                |inner, _| if inner.len() < 110 { message(&[(6, message(&[(1, inner)]))]) } else { inner },
            );
        assert!(decode_struct(&message(&[entry("deep", nested)])).is_some());
    }
}
