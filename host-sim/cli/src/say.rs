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
    // A message may have lines; none of them may be made by a file name.
    let lines: Vec<_> = message.lines().map(printable).collect();
    eprintln!("{style}error{style:#}: {}", lines.join("\n"));
}

/// Something that was hardly meant.
pub(crate) fn warning(message: &str) {
    let style = style(Severity::Warning);
    eprintln!("{style}warning{style:#}: {}", printable(message));
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
    let [place, path, message, help] = [place, path, message, help].map(printable);
    let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
    let help = if help.is_empty() { String::new() } else { format!("  help: {help}\n") };
    format!("{BOLD}{place}:{BOLD:#} {path}{style}{severity}[{code}]{style:#}: {message}\n{help}")
}

/// A text without what would move a terminal's cursor: file names and values come from anybody.
pub(crate) fn printable(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter.is_control() {
            true => plain.extend(letter.escape_default()),
            false => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(printable("a\u{1b}[31mb\nc\u{9b}ü"), r"a\u{1b}[31mb\nc\u{9b}ü");
    }
}
