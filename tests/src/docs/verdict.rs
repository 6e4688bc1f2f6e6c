//! Whether a step did what its document says.

use super::bash::{End, Outcome};
use super::{Step, output};

/// From here on a status means that there was no program, or that a signal ended it.
const NO_PROGRAM: i32 = 126;

/// Of what a failed script said, so many last lines are shown.
const LINES_MAX: usize = 20;

/// What is wrong with a step.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its output is not as shown.
    Output {
        /// Lines with `-` for what is shown and `+` for what came.
        difference: String,
        /// What the document should show instead.
        new: Vec<String>,
    },
    /// It failed, and no text can mend that.
    Failed(String),
}

/// Compares a step with what came of it.
///
/// A command with an output may fail: the output tells. One that failed without a word has nothing to tell, so it counts
/// as failed, and so does one that is no program at all or that a signal ended.
///
/// # Errors
///
/// It did not do what the document says.
pub fn judge(step: &Step, outcome: &Outcome) -> Result<(), Fault> {
    let said = output::lines(&outcome.said);
    let failed = |how: String| {
        let last = said.get(said.len().saturating_sub(LINES_MAX)..).unwrap_or_default();
        Err(Fault::Failed([&[how][..], last].concat().join("\n")))
    };
    let status = match outcome.end {
        End::Status(status) => status,
        End::UnderWay if step.output.is_some() => return failed("did not end, or ended the shell".to_owned()),
        End::UnderWay => return failed("a command of this block failed, or did not end".to_owned()),
        End::NotBegun => return failed("not begun, since the shell had ended".to_owned()),
    };
    let Some(shown) = &step.output else {
        return if status == 0 { Ok(()) } else { failed(format!("exit status {status}")) };
    };
    if status >= NO_PROGRAM || (status != 0 && said.is_empty()) {
        return failed(format!("exit status {status}"));
    }
    match output::difference(&shown.lines, &said) {
        None => Ok(()),
        Some(difference) => Err(Fault::Output { difference, new: output::updated(&shown.lines, &said) }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, judge};
    use crate::docs::Document;
    use crate::docs::bash::{End, Outcome};

    fn check(document: &str, end: End, said: &str, expected: &str) {
        let document = Document::parse(document).unwrap();
        let found = match judge(&document.steps[0], &Outcome { end, said: said.to_owned() }) {
            Ok(()) => "right".to_owned(),
            Err(Fault::Output { difference, .. }) => difference,
            Err(Fault::Failed(how)) => how,
        };
        assert_eq!(found, expected);
    }

    const COMMAND: &str = "```console\n$ a\nb\n```\n";
    const SILENT: &str = "```console\n$ a\n```\n";
    const SCRIPT: &str = "```sh\na\n```\n";

    #[test]
    fn a_command_is_judged_by_its_output() {
        check(COMMAND, End::Status(0), "b\n", "right");
        check(COMMAND, End::Status(1), "b\n", "right");
        check(COMMAND, End::Status(0), "c\n", "- b\n+ c");
        check(COMMAND, End::Status(0), "", "- b");
        check(SILENT, End::Status(0), "", "right");
        check(SILENT, End::Status(0), "b", "+ b");
    }

    #[test]
    fn a_command_that_failed_must_say_why() {
        check(SILENT, End::Status(7), "", "exit status 7");
        check(COMMAND, End::Status(127), "b", "exit status 127\nb");
        check(COMMAND, End::Status(139), "b", "exit status 139\nb");
        check(COMMAND, End::UnderWay, "b", "did not end, or ended the shell\nb");
        check(COMMAND, End::NotBegun, "", "not begun, since the shell had ended");
    }

    #[test]
    fn a_script_must_succeed() {
        check(SCRIPT, End::Status(0), "whatever", "right");
        check(SCRIPT, End::UnderWay, "x\ny", "a command of this block failed, or did not end\nx\ny");
    }
}
