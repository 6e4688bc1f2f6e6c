//! From the bytes of a plugin configuration to a compiled policy, or to every reason why not.

use crate::compact::Compact;
use crate::protobuf;
use istio_config::{Diagnostics, FilterConfig, Severity};
use serde_json::Value;
use traffic_policy::Policy;

/// What became of a configuration.
pub struct Outcome {
    /// `None`: refused.
    pub policy: Option<Policy>,
    /// Everything there is to say about it, errors first.
    pub messages: Vec<(Severity, String)>,
}

/// Reads and compiles a configuration: JSON text (`StringValue`, `BytesValue`) or an encoded protobuf Struct.
pub fn compile(bytes: Vec<u8>) -> Outcome {
    let parsed = parse(&bytes);
    // Linear memory never shrinks, so what is read is let go before the next form of it is made.
    drop(bytes);
    let value = match parsed {
        Ok(value) => value,
        Err(reason) => return Outcome { policy: None, messages: vec![(Severity::Error, reason)] },
    };
    let mut diagnostics = Diagnostics::default();
    let config = FilterConfig::read(value, &mut diagnostics);
    let policy = Policy::compile(&config, &mut diagnostics).filter(|_| !diagnostics.has_errors());
    let mut messages: Vec<_> = diagnostics.iter().map(|found| (found.severity, found.to_string())).collect();
    messages.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
    Outcome { policy, messages }
}

fn parse(bytes: &[u8]) -> Result<Value, String> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err("the filter has no configuration; `shunt render` writes one".to_owned());
    }
    // A Struct begins with the tag of its first field, which is a line feed; so may JSON.
    serde_json::from_slice(bytes).map(|Compact(value)| value).or_else(|json_fault| {
        protobuf::decode_struct(bytes)
            .ok_or_else(|| format!("the configuration is neither JSON nor a google.protobuf.Struct: {json_fault}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let outcome = compile(text.as_bytes().to_vec());
        assert_eq!(outcome.policy.is_none(), outcome.messages.iter().any(|(severity, _)| *severity == Severity::Error));
        let messages: Vec<_> = outcome.messages.iter().map(|(_, message)| message.as_str()).collect();
        assert_eq!(messages.len(), expected.len(), "{messages:#?}");
        for (message, part) in messages.iter().zip(expected) {
            assert!(message.contains(part), "{message}\ndoes not contain\n{part}");
        }
    }

    const OBJECT: &str =
        r#"{"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "a"}, "spec": "#;

    #[test]
    fn objects_can_be_pasted_and_numbers_may_be_doubles() {
        let spec = r#"{"hosts": ["a"], "http": [{"route": [{"destination": {"host": "a", "port": {"number": 80.0}}, "weight": 1.0}]}]}"#;
        check(&format!("{{\"objects\": [{OBJECT}{spec}}}]}}"), &[]);
    }

    #[test]
    fn every_reason_is_given() {
        let spec = r#"{"hosts": ["a"], "http": [{"match": [{"uri": {"regex": "("}}], "route": [{"destination": {"host": ""}}]}]}"#;
        check(
            &format!("{{\"objects\": [{OBJECT}{spec}}}]}}"),
            &["spec.http[0].match[0].uri: error[bad-regex]", "spec.http[0].route[0].destination.host: error[bad-host]"],
        );
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        check("", &["no configuration"]);
        check("not json", &["neither JSON nor"]);
        check("{\"objets\": []}", &["unknown field `objets`"]);
        check("{\"apiVersion\": \"shunt.dev/v9\"}", &["this filter reads `shunt.dev/v1alpha1`"]);
        check(
            "{\"bindings\": [{\"virtualService\": \"default/a\", \"http\": 0, \"profiles\": []}]}",
            &["bindings[0]: error[unknown-rule]"],
        );
    }
}
