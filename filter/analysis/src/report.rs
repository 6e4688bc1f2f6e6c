//! What was found, with its places, in the order of the files; and what of it counts.

use crate::codes::code;
use crate::suppression::{Suppression, is_suppressed};
use istio_config::yaml::Sources;
use istio_config::{Config, Diagnostic, Diagnostics, Severity};
use serde_json::{Value, json};

/// One finding that is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// File, line and column, both from 1; `None` for what stands in no file.
    pub place: Option<(String, usize, usize)>,
    /// What was found.
    pub diagnostic: Diagnostic,
}

/// How many findings there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Errors.
    pub errors: usize,
    /// Warnings.
    pub warnings: usize,
    /// Notes.
    pub notes: usize,
    /// Findings left out because of a suppression; counted nowhere else.
    pub suppressed: usize,
    /// Errors that a suppression names, and that stay nevertheless: what cannot be served cannot be left out.
    pub kept: usize,
}

/// All findings of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    findings: Vec<Finding>,
    summary: Summary,
}

impl Finding {
    /// Istio's code where it is another than ours.
    pub fn istio_code(&self) -> Option<&'static str> {
        code(self.diagnostic.code).and_then(|code| code.istio).filter(|istio| *istio != self.diagnostic.code)
    }

    fn to_json(&self) -> Value {
        let Diagnostic { severity, code, object, path, message, help } = &self.diagnostic;
        let mut json = json!({
            "severity": severity.to_string(),
            "code": code,
            "message": message,
            "object": {"kind": &*object.kind, "namespace": &*object.namespace, "name": &*object.name},
        });
        if let Some(fields) = json.as_object_mut() {
            if let Some((file, line, column)) = &self.place {
                fields.extend([
                    ("file".to_owned(), json!(file)),
                    ("line".to_owned(), json!(line)),
                    ("column".to_owned(), json!(column)),
                ]);
            }
            let optional = [("istioCode", self.istio_code().unwrap_or_default()), ("path", path), ("help", help)];
            fields.extend(
                optional
                    .into_iter()
                    .filter(|(_, text)| !text.is_empty())
                    .map(|(key, text)| (key.to_owned(), json!(text))),
            );
        }
        json
    }
}

impl Report {
    /// Places the findings and leaves out those that are suppressed; errors stay.
    pub fn new(diagnostics: &Diagnostics, config: &Config, sources: &Sources, suppressions: &[Suppression]) -> Self {
        let mut report = Self::default();
        for diagnostic in diagnostics.iter() {
            if is_suppressed(diagnostic, suppressions, &config.annotations) {
                if diagnostic.severity < Severity::Error {
                    report.summary.suppressed = report.summary.suppressed.saturating_add(1);
                    continue;
                }
                report.summary.kept = report.summary.kept.saturating_add(1);
            }
            let count = match diagnostic.severity {
                Severity::Error => &mut report.summary.errors,
                Severity::Warning => &mut report.summary.warnings,
                Severity::Note => &mut report.summary.notes,
            };
            *count = count.saturating_add(1);
            let place = sources.locate(&diagnostic.object, &diagnostic.path);
            let place = place.map(|(file, at)| (file.to_owned(), at.line, at.column));
            report.findings.push(Finding { place, diagnostic: diagnostic.clone() });
        }
        report.findings.sort_by(|left, right| left.place.cmp(&right.place));
        report
    }

    /// The findings from `threshold` on, in the order of the files.
    pub fn findings(&self, threshold: Severity) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.diagnostic.severity >= threshold)
    }

    /// How many findings there are, of whatever severity.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// The worst of them.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.diagnostic.severity).max()
    }

    /// As one JSON object, `kind: CheckReport`; `docs/check.md` describes it.
    pub fn to_json(&self, threshold: Severity) -> Value {
        let Summary { errors, warnings, notes, suppressed, kept: _ } = self.summary;
        json!({
            "apiVersion": "shunt.dev/v1alpha1",
            "kind": "CheckReport",
            "summary": {"errors": errors, "warnings": warnings, "notes": notes, "suppressed": suppressed},
            "findings": self.findings(threshold).map(Finding::to_json).collect::<Vec<_>>(),
        })
    }
}
