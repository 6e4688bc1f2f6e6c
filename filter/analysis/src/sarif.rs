//! Findings as SARIF 2.1.0 (OASIS), which code hosts and editors show beside the lines.

use crate::codes::code;
use crate::report::{Finding, Report};
use istio_config::{Diagnostic, Severity};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

impl Report {
    /// As a SARIF log with one run. `version` is that of the command.
    pub fn to_sarif(&self, threshold: Severity, version: &str) -> Value {
        let codes: BTreeSet<&str> = self.findings(threshold).map(|finding| finding.diagnostic.code).collect();
        let rules: Vec<Value> = codes.iter().map(|name| rule(name)).collect();
        let results: Vec<Value> = self.findings(threshold).map(|finding| result(finding, &codes)).collect();
        json!({
            "$schema": SCHEMA,
            "version": "2.1.0",
            "runs": [{
                "tool": {"driver": {"name": "shunt", "version": version, "rules": rules}},
                "columnKind": "unicodeCodePoints",
                "results": results,
            }],
        })
    }
}

fn rule(name: &str) -> Value {
    let known = code(name);
    let mut rule = json!({"id": name});
    if let (Some(fields), Some(known)) = (rule.as_object_mut(), known) {
        fields.insert("shortDescription".to_owned(), json!({"text": format!("{}.", known.meaning)}));
        if let Some(istio) = known.istio.filter(|istio| *istio != name) {
            fields.insert("properties".to_owned(), json!({"tags": [istio]}));
        }
    }
    rule
}

fn result(finding: &Finding, codes: &BTreeSet<&str>) -> Value {
    let Diagnostic { severity, code, object, path, message, help } = &finding.diagnostic;
    let level = match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let field = if path.is_empty() { String::new() } else { format!("{path}: ") };
    let help = if help.is_empty() { String::new() } else { format!(" ({help})") };
    let mut location = json!({
        "logicalLocations": [{"fullyQualifiedName": format!("{object} {path}").trim_end(), "kind": "object"}],
    });
    if let (Some((file, line, column)), Some(fields)) = (&finding.place, location.as_object_mut()) {
        let place = json!({
            "artifactLocation": {"uri": uri(file)},
            "region": {"startLine": line, "startColumn": column},
        });
        fields.insert("physicalLocation".to_owned(), place);
    }
    json!({
        "ruleId": code,
        "ruleIndex": codes.iter().position(|known| known == code),
        "level": level,
        "message": {"text": format!("{field}{message}{help}")},
        "locations": [location],
    })
}

/// A file name as a URI reference: relative ones stay relative.
fn uri(file: &str) -> String {
    let file = file.strip_prefix("./").unwrap_or(file);
    let mut uri = if file.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in file.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_become_uri_references() {
        assert_eq!(uri("./a b/é.yaml"), "a%20b/%C3%A9.yaml");
        assert_eq!(uri("/etc/a.yaml"), "file:///etc/a.yaml");
        assert_eq!(uri("<stdin>"), "%3Cstdin%3E");
    }
}
