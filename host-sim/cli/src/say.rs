//! What a person is told, on stderr, in colour only on a terminal.

use anstream::{eprint, eprintln};
use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use istio_config::Severity;

const BOLD: Style = Style::new().bold();

fn style(severity: Severity) -> Style {
    let color = match severity {
        Severity::Error => AnsiColor::Red,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Note => AnsiColor::Cyan,
    };
    Style::new().bold().fg_color(Some(color.into()))
}

/// The reason a command fails.
pub(crate) fn error(message: &str) {
    let style = style(Severity::Error);
    eprintln!("{style}error{style:#}: {message}");
}

/// A bar for long work: on a terminal only, and gone when the work is done.
pub(crate) fn progress(length: usize, what: &str) -> ProgressBar {
    let style =
        ProgressStyle::with_template(&format!("{{bar:30}} {{percent}}% {{pos}} {what}, {{per_sec}}, {{eta}} to go"));
    let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Something worth knowing.
pub(crate) fn note(message: &str) {
    eprintln!("{message}");
}

/// One finding: `reviews.yaml:12:5: spec.http[1].route: error[no-weight]: every destination has weight 0`, and below it
/// the way out.
pub(crate) fn finding(place: &str, path: &str, severity: Severity, code: &str, message: &str, help: &str) {
    eprint!("{}", styled(place, path, severity, code, message, help));
}

/// The same as a text with colours.
pub(crate) fn styled(place: &str, path: &str, severity: Severity, code: &str, message: &str, help: &str) -> String {
    let style = style(severity);
    let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
    let help = if help.is_empty() { String::new() } else { format!("  help: {help}\n") };
    format!("{BOLD}{place}:{BOLD:#} {path}{style}{severity}[{code}]{style:#}: {message}\n{help}")
}
