//! Small pieces of protobuf's JSON form that every message needs.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// An `Any`: the message with its type in front.
pub(crate) fn any(message_type: &str, message: Value) -> Value {
    with(message, [("@type", Some(json!(format!("type.googleapis.com/{message_type}"))))])
}

/// The message with these fields too, as far as they are there.
pub(crate) fn with<const N: usize>(mut message: Value, optional: [(&str, Option<Value>); N]) -> Value {
    if let Some(fields) = message.as_object_mut() {
        fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    message
}

/// An extension: its name and its configuration as an `Any`.
pub(crate) fn extension(name: &str, message_type: &str, message: Value) -> Value {
    json!({ "name": name, "typed_config": any(message_type, message) })
}

/// A `google.protobuf.Duration`: seconds with as many digits as it takes.
pub(crate) fn duration(duration: Duration) -> Value {
    let nanoseconds = format!("{:09}", duration.subsec_nanos());
    let fraction = nanoseconds.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    json!(format!("{}{dot}{fraction}s", duration.as_secs()))
}

/// A `core.v3.Address` over TCP.
pub(crate) fn address(address: SocketAddr) -> Value {
    socket_address(&address.ip().to_string(), address.port())
}

/// A `core.v3.Address` over TCP, from an IP address as text.
pub(crate) fn socket_address(address: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": address, "port_value": port } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_digits_they_need() {
        for (milliseconds, text) in [(0, "0s"), (25, "0.025s"), (2500, "2.5s"), (3_600_000, "3600s"), (1001, "1.001s")]
        {
            assert_eq!(duration(Duration::from_millis(milliseconds)), text);
        }
    }
}
