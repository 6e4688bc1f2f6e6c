//! Names, labels and quantities on the command line: what the API server would refuse of names is refused here.

use traffic_sim::{Percent, Percentile, Span};

/// Kinds that an EnvoyFilter, a WasmPlugin and a TrafficExtension can be for.
const TARGETS: [&str; 4] = ["Gateway", "GatewayClass", "Service", "ServiceEntry"];

/// The name of an object: lower-case letters, digits, `-` and `.`.
pub(crate) fn object(text: &str) -> Result<String, String> {
    let is_sound = text.len() <= 253 && text.split('.').all(is_label);
    is_sound.then(|| text.to_owned()).ok_or_else(|| {
        "a name has lower-case letters, digits, `-` and `.`, 253 at most, and a letter or digit on both ends".to_owned()
    })
}

/// The name of a namespace: as of an object, without `.`, and shorter.
pub(crate) fn namespace(text: &str) -> Result<String, String> {
    let is_sound = text.len() <= 63 && is_label(text);
    is_sound.then(|| text.to_owned()).ok_or_else(|| {
        "a namespace has lower-case letters, digits and `-`, 63 at most, and a letter or digit on both ends".to_owned()
    })
}

/// `KEY=VALUE`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = split(text, '=').ok_or_else(|| format!("`{text}` is no label: write KEY=VALUE"))?;
    let (prefix, name) = key.rsplit_once('/').map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
    match prefix.map(object).transpose() {
        Ok(_) if is_word(name) && is_word(&value) => Ok((key, value)),
        _ => Err(format!(
            "`{text}` is no label: key and value have letters, digits, `-`, `_` and `.`, 63 at most, and a letter or digit on both ends; a key may begin with a domain and `/`"
        )),
    }
}

/// `KIND/NAME` of what an EnvoyFilter can be for.
pub(crate) fn target(text: &str) -> Result<(String, String), String> {
    reference(text, &TARGETS)
}

/// `Gateway/NAME`.
pub(crate) fn gateway(text: &str) -> Result<(String, String), String> {
    reference(text, &TARGETS[..1])
}

/// A share, `20` or `20%`.
pub(crate) fn percent(text: &str) -> Result<Percent, String> {
    Percent::parse(&format!("{}%", text.trim_end().trim_end_matches('%')))
}

/// `p99=300ms`.
pub(crate) fn latency(text: &str) -> Result<(Percentile, Span), String> {
    let wrong = || format!("`{text}` is no percentile with its limit: write it like p99=300ms");
    let (percentile, limit) = text.split_once('=').ok_or_else(wrong)?;
    Percentile::parse(percentile).zip(Span::parse(limit)).ok_or_else(wrong)
}

fn reference(text: &str, kinds: &[&str]) -> Result<(String, String), String> {
    let (kind, name) = split(text, '/').ok_or_else(|| format!("`{text}` is no reference: write KIND/NAME"))?;
    if !kinds.contains(&kind.as_str()) {
        return Err(format!("`{kind}` cannot be the kind here; it is {}", kinds.join(", ")));
    }
    Ok((kind, object(&name)?))
}

fn split(text: &str, at: char) -> Option<(String, String)> {
    let (before, after) = text.split_once(at)?;
    (!before.is_empty() && !after.is_empty()).then(|| (before.to_owned(), after.to_owned()))
}

/// One part of a name between dots.
fn is_label(text: &str) -> bool {
    let is_edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    is_edge(text.bytes().next()) && is_edge(text.bytes().last()) && text.bytes().all(is_inner)
}

/// A key of a label behind its domain, or a value.
fn is_word(text: &str) -> bool {
    let is_edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.len() <= 63 && is_edge(text.bytes().next()) && is_edge(text.bytes().last()) && text.bytes().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kubernetes_takes() {
        for good in ["a", "shunt", "a-b.c-1", "0", &"a".repeat(253)] {
            assert!(object(good).is_ok(), "{good}");
        }
        for bad in ["", "Foo_Bar!", "Shunt", "-a", "a-", "a..b", ".a", "a b", "ü", &"a".repeat(254)] {
            assert!(object(bad).is_err(), "{bad}");
        }
        assert!(namespace("istio-system").is_ok());
        for bad in ["Ba d", "a.b", &"a".repeat(64)] {
            assert!(namespace(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_have_keys_and_values_that_kubernetes_takes() {
        for good in ["app=web", "app.kubernetes.io/name=Web_1.0", "A=b-c"] {
            assert!(label(good).is_ok(), "{good}");
        }
        for bad in ["app", "app=", "=web", "a b=c", "a=b c", "-a=b", "a=b=c", "A.io/x=y", "/a=b", "a/b/c=d"] {
            assert!(label(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn targets_are_of_kinds_that_are_served() {
        assert_eq!(target("Service/a"), Ok(("Service".to_owned(), "a".to_owned())));
        for bad in ["Deployment/foo", "gateway/a", "Gateway", "Gateway/", "Gateway/A"] {
            assert!(target(bad).is_err(), "{bad}");
        }
        assert!(gateway("Gateway/eg").is_ok() && gateway("Service/eg").is_err());
    }
}
