//! `shunt check`: what it finds, what it leaves alone, and how it says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod bookinfo;
mod broken;
mod command;

use istio_config::yaml::{self, Sources};
use istio_config::{Config, Diagnostics, Severity};
use rule_analysis::Report;

/// What is found in texts, as `line L: path: severity[code]` with the severity; findings of other files than `of` are left
/// out.
fn findings(texts: &[(&str, &[u8])], of: &str) -> Vec<(Severity, String)> {
    let (mut config, mut sources, mut diagnostics) = (Config::default(), Sources::default(), Diagnostics::default());
    for (name, text) in texts {
        yaml::read_bytes(name, text, &mut config, &mut sources, &mut diagnostics);
    }
    let config = rule_analysis::check(config, "default", &mut diagnostics);
    let report = Report::new(&diagnostics, &config, &sources, &[]);
    let found = report.findings(Severity::Note).filter_map(|finding| {
        let (file, line, _) = finding.place.as_ref().expect("every finding has a place");
        let found = &finding.diagnostic;
        assert!(rule_analysis::code(found.code).is_some(), "{} is in no table", found.code);
        let path = if found.path.is_empty() { String::new() } else { format!("{}: ", found.path) };
        (file == of).then(|| (found.severity, format!("line {line}: {path}{}[{}]", found.severity, found.code)))
    });
    found.collect()
}
