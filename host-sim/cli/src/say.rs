//! What a person is told, on stderr, in colour only on a terminal.

use anstream::{eprint, eprintln};
use anstyle::{AnsiColor, Style};
use istio_config::{Diagnostic, Severity};

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

/// Something worth knowing.
pub(crate) fn note(message: &str) {
    eprintln!("{message}");
}

/// One finding: `reviews.yaml:12:5: spec.http[1].route: error[no-weight]: every destination has weight 0`, and below it
/// the way out.
pub(crate) fn finding(place: &str, finding: &Diagnostic) {
    eprint!("{}", styled(place, finding, None));
}

/// The same as a text; behind the message what istioctl calls the finding, where that is another code.
pub(crate) fn styled(place: &str, finding: &Diagnostic, istio_code: Option<&str>) -> String {
    let Diagnostic { severity, code, object: _, path, message, help } = finding;
    let style = style(*severity);
    let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
    let istio_code = istio_code.map(|code| format!(" [{code}]")).unwrap_or_default();
    let help = if help.is_empty() { String::new() } else { format!("  help: {help}\n") };
    format!("{BOLD}{place}:{BOLD:#} {path}{style}{severity}[{code}]{style:#}: {message}{istio_code}\n{help}")
}
