//! `shunt check`: everything that is wrong with the rules, and everything that will surprise.

use crate::arguments::{CheckOptions, Threshold};
use crate::failure::Failure;
use crate::input::Input;
use crate::output::Output;
use crate::say;
use istio_config::{Diagnostic, Severity};
use rule_analysis::{Chain, Report, Summary, Suppression, View};

/// Checks and reports. What was found is the result, so it goes to standard output; how much it was goes to stderr.
pub(crate) fn run(options: &CheckOptions) -> Result<(), Failure> {
    let CheckOptions { manifests, failure_threshold, output_threshold, suppress, chain, output } = options;
    let output = Output::new(output, &["text", "json", "sarif"])?;
    let suppressions = suppress
        .iter()
        .map(|text| Suppression::parse(text).map_err(|fault| Failure::Usage(format!("--suppress {text}: {fault}"))))
        .collect::<Result<Vec<_>, _>>()?;
    let chains = chain.iter().map(|text| {
        let fault = || Failure::Usage(format!("--chain {text}: name two hosts or more, joined by commas"));
        Chain::parse(text, &manifests.namespace).ok_or_else(fault)
    });
    let chains = chains.collect::<Result<Vec<_>, _>>()?;

    let mut input = Input::read_what_can_be(&manifests.files, manifests.recursive)?;
    if input.config.is_empty() && input.diagnostics.iter().next().is_none() {
        let named: Vec<_> = manifests.files.iter().map(|path| path.display().to_string()).collect();
        return Err(Failure::Failed(format!("no Istio object in {}", named.join(", "))));
    }
    let config = rule_analysis::check(std::mem::take(&mut input.config), &manifests.namespace, &mut input.diagnostics);
    let view = View::new(&config);
    for chain in chains {
        let chain = chain
            .resolve(&view)
            .map_err(|host| Failure::Usage(format!("--chain: no service and no rule knows the host `{host}`")))?;
        chain.analyse(&view, &mut input.diagnostics);
    }
    for suppression in suppressions.iter().filter_map(Suppression::doubt) {
        say::warning(&suppression);
    }
    let report = Report::new(&input.diagnostics, &config, &input.sources, &suppressions);

    let shown = severity(*output_threshold);
    match output.format() {
        "json" => output.write(&pretty(&report.to_json(shown)))?,
        "sarif" => output.write(&pretty(&report.to_sarif(shown, env!("CARGO_PKG_VERSION"))))?,
        _ => output.write_styled(&text(&report, shown))?,
    }
    let objects = [
        config.virtual_services.len(),
        config.destination_rules.len(),
        config.service_entries.len(),
        config.gateways.len(),
        config.shunt_policies.len(),
    ];
    say::note(&counted(report.summary(), shown, objects.iter().sum(), input.files));
    let limit = if manifests.strict {
        severity(*failure_threshold).min(Severity::Warning)
    } else {
        severity(*failure_threshold)
    };
    if limit < shown && report.worst().is_some_and(|worst| (limit..shown).contains(&worst)) {
        say::note(&format!("it fails because of what is not shown: from {limit} on is a failure here"));
    }
    if report.worst().is_some_and(|worst| worst >= limit) { Err(Failure::Found) } else { Ok(()) }
}

fn severity(threshold: Threshold) -> Severity {
    match threshold {
        Threshold::Note => Severity::Note,
        Threshold::Warning => Severity::Warning,
        Threshold::Error => Severity::Error,
    }
}

fn pretty(json: &serde_json::Value) -> String {
    format!("{json:#}\n")
}

fn text(report: &Report, shown: Severity) -> String {
    let mut text = String::new();
    for finding in report.findings(shown) {
        let place = match &finding.place {
            Some((file, line, column)) => format!("{file}:{line}:{column}"),
            None => finding.diagnostic.object.to_string(),
        };
        let Diagnostic { severity, code, object: _, path, message, help } = &finding.diagnostic;
        // Behind the message what istioctl calls it, where that is another code.
        let istio_code = finding.istio_code().map(|code| format!(" [{code}]")).unwrap_or_default();
        text.push_str(&say::styled(&place, path, *severity, code, &format!("{message}{istio_code}"), help));
    }
    text
}

/// The last line: `1 error, 2 warnings in 12 objects of 3 files; 4 notes not shown`.
fn counted(summary: Summary, shown: Severity, objects: usize, files: usize) -> String {
    let Summary { errors, warnings, notes, suppressed, kept } = summary;
    let number = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let all =
        [(errors, "error", Severity::Error), (warnings, "warning", Severity::Warning), (notes, "note", Severity::Note)];
    let listed = |is_shown: bool| {
        let counts = all.iter().filter(|(count, _, severity)| *count > 0 && (*severity >= shown) == is_shown);
        counts.map(|(count, word, _)| number(*count, word)).collect::<Vec<_>>().join(", ")
    };
    let (found, hidden) = (listed(true), listed(false));
    let found = if found.is_empty() { "nothing found".to_owned() } else { found };
    let mut line = format!("{found} in {} of {}", number(objects, "object"), number(files, "file"));
    if !hidden.is_empty() {
        line.push_str(&format!("; {hidden} not shown (--output-threshold note shows all)"));
    }
    if suppressed > 0 {
        line.push_str(&format!("; {suppressed} suppressed"));
    }
    if kept > 0 {
        line.push_str("; errors cannot be suppressed");
    }
    line
}
