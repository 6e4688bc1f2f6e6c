//! JSON values as text that people read and Envoy loads.
//!
//! Envoy goes by the file's name: `.yaml` and `.yml` are YAML, any other name is JSON. Its YAML reader is of the older
//! kind that takes `on`, `no` or `1_000` for something other than text, so whatever is not plainly a word is quoted,
//! and nothing is ever folded: a module of megabytes stays on one line.

use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::path::Path;

/// Keys that come first in their map, in this order; the others follow by the alphabet.
const FIRST: [&str; 8] = ["apiVersion", "kind", "metadata", "name", "@type", "match", "node", "listeners"];

/// Words that YAML readers of any age take for something other than text.
const RESERVED: [&str; 13] =
    ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf", "infinity", "undefined"];

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// With comments on top.
    Yaml,
    /// Indented; comments are left out.
    Json,
}

impl Format {
    /// The format that Envoy expects in a file of this name.
    pub fn of_file(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml") => Self::Yaml,
            _ => Self::Json,
        }
    }

    /// Several objects of Kubernetes as `kubectl apply` takes them: one document each, or a `List`.
    pub fn write_all(self, objects: &[Value], comments: &[&str]) -> String {
        match self {
            Self::Json => self.write(&json!({ "apiVersion": "v1", "kind": "List", "items": objects }), comments),
            Self::Yaml => {
                let top = comments.iter().map(|comment| format!("# {comment}\n")).collect::<String>();
                let documents: Vec<_> = objects.iter().map(|object| self.write(object, &[])).collect();
                top + &documents.join("---\n")
            }
        }
    }

    /// The value as text that ends with a line end; `comments` stand on top, a line each.
    pub fn write(self, value: &Value, comments: &[&str]) -> String {
        match self {
            Self::Json => format!("{value:#}\n"),
            Self::Yaml => {
                let mut text = String::new();
                for comment in comments {
                    text.push_str("# ");
                    text.push_str(comment);
                    text.push('\n');
                }
                block(&mut text, value, 0);
                text
            }
        }
    }
}

/// Writes a value whose first line begins where the text ends, and all others `indent` blanks in.
fn block(text: &mut String, value: &Value, indent: usize) {
    let begin = |text: &mut String, is_first: bool| {
        if !is_first {
            text.extend(std::iter::repeat_n(' ', indent));
        }
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (index, (key, value)) in in_order(fields).into_iter().enumerate() {
                begin(text, index == 0);
                string(text, key);
                text.push(':');
                if is_inline(value) {
                    text.push(' ');
                    block(text, value, indent);
                } else {
                    // A list's dashes stand under its key, a map's keys two further in.
                    let inner = if value.is_array() { indent } else { indent.saturating_add(2) };
                    text.push('\n');
                    text.extend(std::iter::repeat_n(' ', inner));
                    block(text, value, inner);
                }
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                begin(text, index == 0);
                text.push_str("- ");
                block(text, item, indent.saturating_add(2));
            }
        }
        Value::String(value) => {
            string(text, value);
            text.push('\n');
        }
        other => {
            text.push_str(&other.to_string());
            text.push('\n');
        }
    }
}

fn is_inline(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    }
}

fn in_order(fields: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut fields: Vec<_> = fields.iter().collect();
    // The map may or may not be sorted by itself: that is a feature flag of some other crate.
    fields.sort_by_key(|(key, _)| (FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()), key.as_str()));
    fields
}

/// Bare where no reader can mistake it; in single quotes where that saves escapes, as in embedded JSON.
fn string(text: &mut String, value: &str) {
    let is_bare = value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./|".contains(&byte))
        && !RESERVED.contains(&value.to_ascii_lowercase().as_str());
    if is_bare {
        text.push_str(value);
    } else if value.contains(['"', '\\']) && value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        text.push('\'');
        text.push_str(&value.replace('\'', "''"));
        text.push('\'');
    } else {
        text.push('"');
        for c in value.chars() {
            match c {
                '"' | '\\' => text.extend(['\\', c]),
                ' '..='~' => text.push(c),
                // Writing to a String cannot fail.
                _ => _ = write!(text, "\\U{:08X}", u32::from(c)),
            }
        }
        text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use istio_config::{Config, Diagnostics, yaml};
    use serde_json::json;

    #[test]
    fn maps_and_lists_are_laid_out_as_people_write_them() {
        let value = json!({
            "zeta": [[1, 2], {"b": true, "a": null, "name": "x"}, []],
            "@type": "t", "name": "outbound|80||a.com",
            "empty": {}, "map": {"inner": {"text": "0s"}},
        });
        let expected = "# Why.\nname: outbound|80||a.com\n\"@type\": t\nempty: {}\nmap:\n  inner:\n    text: \"0s\"\nzeta:\n- - 1\n  - 2\n- name: x\n  a: null\n  b: true\n- []\n";
        assert_eq!(Format::Yaml.write(&value, &["Why."]), expected);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let odd = json!([
            "", " ", "a b", "on", "No", "1", "1e3", "0x1f", "1_000", "~", "null", "- a", "a: b", "a#b", "#a", "@a", "*a", "&a", "!a", "%a",
            "it's", "say \"it's\"", "back\\slash", "line\nend", "tab\t", "\u{0}\u{7f}\u{85}\u{2028}", "ü", "\u{1f600}", "{\"a\": [1]}", "a+/=", "|", ">", "?", ":",
            -1, 1.5, true, null, {}, [], {"": 1, "on": 2, "a b": 3, "list": [[]], "ü": {"x": [{}]}},
        ]);
        let document = json!({ "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "g", "odd": odd}, "spec": {} });
        let text = Format::Yaml.write(&document, &[]);
        let (mut config, mut sources, mut diagnostics) =
            (Config::default(), yaml::Sources::default(), Diagnostics::default());
        yaml::read("f", &text, &mut config, &mut sources, &mut diagnostics);
        assert_eq!(config.written, [document], "{diagnostics:?}\n{text}");
    }

    #[test]
    fn a_long_string_stays_on_one_line() {
        let long = "AAAA".repeat(100_000) + "==";
        assert_eq!(Format::Yaml.write(&json!({ "code": long }), &[]).lines().count(), 1);
    }

    #[test]
    fn envoy_takes_yaml_by_its_name_and_all_else_as_json() {
        for (name, format) in
            [("a.yaml", Format::Yaml), ("a.yml", Format::Yaml), ("a.json", Format::Json), ("a", Format::Json)]
        {
            assert_eq!(Format::of_file(Path::new(name)), format);
        }
    }
}
