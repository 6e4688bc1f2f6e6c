//! The commands in the documents, which a test runs, so that no page shows what the command does not do.
//!
//! A fence ```` ```console ```` holds commands, each after `$ `, and below each what it prints: stdout and stderr, as a
//! terminal shows them. A line that is just `…` stands for any number of lines, `…` inside a line for any text. A fence
//! ```` ```sh ```` holds commands that must succeed; what they print is nobody's business, so servers are started there,
//! with `&`. A fence without a language holds no commands. A line `<!-- not run: reason -->` before a fence excuses it.
//!
//! All commands of a document run in order, in one shell, from the root of a fresh copy of the repository.
//!
//! - [`command`](mod@command): where a command ends
//! - [`output`](mod@output): what was expected against what came
//! - [`copy`](mod@copy): the documents, and the copy they run in
//! - [`bash`](mod@bash): the shell, in a network of its own
//! - [`verdict`](mod@verdict): whether a command did what the document says

use std::ops::Range;

pub mod bash;
pub mod command;
pub mod copy;
pub mod output;
pub mod verdict;

/// A reason says more than this many characters.
const REASON_MIN: usize = 10;

/// What a document wants to be run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// In the order of the document.
    pub steps: Vec<Step>,
    /// The fences that are not run: the line of each (from 1), and the reason.
    pub not_run: Vec<(usize, String)>,
}

/// One command and its output, or one fence of commands that must succeed.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// The line of the document in which it begins, from 1.
    pub line: usize,
    /// What the shell gets.
    pub text: String,
    /// How many commands these are.
    pub commands: usize,
    /// Absent for a fence of commands that must only succeed.
    pub output: Option<Output>,
}

/// What a document shows below a command.
#[derive(Debug, PartialEq, Eq)]
pub struct Output {
    /// Its lines, without the indentation of the fence.
    pub lines: Vec<String>,
    /// Where they stand: lines of the document, from 0. Blank lines at the end are left out.
    pub at: Range<usize>,
    /// Spaces before the fence, when it belongs to a list.
    pub indent: usize,
}

/// A fence that is open.
struct Fence<'a> {
    line: usize,
    indent: usize,
    ticks: usize,
    language: &'a str,
    excuse: Option<&'a str>,
    content: Vec<&'a str>,
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// Each place where it leaves the convention, as `line: text`.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let mut document = Self::default();
        let mut wrong = Vec::new();
        let mut open: Option<Fence> = None;
        let mut excuse: Option<(usize, &str)> = None;
        for (line, text) in (1..).zip(text.lines()) {
            if let Some(mut fence) = open.take() {
                let bare = text.trim();
                if bare.len() >= fence.ticks && bare.chars().all(|character| character == '`') {
                    fence.close(&mut document, &mut wrong);
                } else {
                    let spaces = text.len() - text.trim_start_matches(' ').len();
                    fence.content.push(&text[spaces.min(fence.indent)..]);
                    open = Some(fence);
                }
                continue;
            }
            let excused = excuse.take();
            if let Some(mut fence) = Fence::open(line, text) {
                fence.excuse = excused.map(|(_, reason)| reason);
                open = Some(fence);
                continue;
            }
            wrong.extend(excused.map(|(line, _)| format!("{line}: `not run` stands before no fence")));
            let reason = text.trim().strip_prefix("<!-- not run:").and_then(|text| text.strip_suffix("-->"));
            excuse = reason.map(|reason| (line, reason.trim()));
        }
        wrong.extend(open.map(|fence| format!("{}: this fence is never closed", fence.line)));
        wrong.extend(excuse.map(|(line, _)| format!("{line}: `not run` stands before no fence")));
        if wrong.is_empty() { Ok(document) } else { Err(wrong) }
    }

    /// How many commands it runs.
    pub fn commands(&self) -> usize {
        self.steps.iter().map(|step| step.commands).sum()
    }
}

impl<'a> Fence<'a> {
    fn open(line: usize, text: &'a str) -> Option<Self> {
        let bare = text.trim_start_matches(' ');
        let language = bare.trim_start_matches('`');
        let (indent, ticks) = (text.len() - bare.len(), bare.len() - language.len());
        let is_fence = ticks >= 3 && !language.contains('`');
        is_fence.then(|| Self { line, indent, ticks, language: language.trim(), excuse: None, content: Vec::new() })
    }

    fn close(self, document: &mut Document, wrong: &mut Vec<String>) {
        let line = self.line;
        let is_run = matches!(self.language, "console" | "sh");
        match (self.language, self.excuse) {
            (_, Some(_)) if !is_run => wrong.push(format!("{line}: `not run` stands before a fence without commands")),
            (_, Some(reason)) if reason.chars().count() <= REASON_MIN => {
                wrong.push(format!("{line}: a reason says more than `{reason}`"));
            }
            (_, Some(reason)) => document.not_run.push((line, reason.to_owned())),
            ("console", None) => match self.console() {
                Ok(steps) => document.steps.extend(steps),
                Err(error) => wrong.push(error),
            },
            ("sh", None) => {
                let text = self.content.join("\n");
                match command::split(&self.content) {
                    Some(ranges) if !ranges.is_empty() => {
                        document.steps.push(Step { line: line + 1, text, commands: ranges.len(), output: None });
                    }
                    Some(_) => wrong.push(format!("{line}: no command in this fence")),
                    None => wrong.push(format!("{line}: the last command of this fence is not finished")),
                }
            }
            ("bash" | "shell" | "shell-session" | "zsh", None) => {
                wrong.push(format!("{line}: commands stand in `console` or `sh`, not in `{}`", self.language));
            }
            ("", None) if self.content.iter().any(|text| text.starts_with("$ ")) => {
                wrong.push(format!("{line}: `$ ` in a fence without a language: make it `console`"));
            }
            _ => {}
        }
    }

    /// Each command with its output.
    fn console(&self) -> Result<Vec<Step>, String> {
        let lines = &self.content;
        let begins = |at: usize| lines.get(at).is_some_and(|line| line.starts_with("$ "));
        if !begins(0) {
            return Err(format!("{}: a `console` fence begins with `$ ` and a command", self.line + 1));
        }
        let mut steps = Vec::new();
        let mut at = 0;
        while at < lines.len() {
            let line = self.line + 1 + at;
            let mut text = lines[at].trim_start_matches("$ ").to_owned();
            at += 1;
            while command::is_open(&text) {
                let Some(next) = lines.get(at) else { return Err(format!("{line}: this command is not finished")) };
                text = format!("{text}\n{next}");
                at += 1;
            }
            let from = at;
            while at < lines.len() && !begins(at) {
                at += 1;
            }
            let blank = lines[from..at].iter().rev().take_while(|line| line.trim().is_empty()).count();
            let shown = &lines[from..at - blank];
            // The fence's own line is number `line`, so its content begins at that index, counted from 0.
            let place = self.line + from..self.line + from + shown.len();
            let shown = shown.iter().map(|line| (*line).to_owned()).collect();
            let output = Some(Output { lines: shown, at: place, indent: self.indent });
            steps.push(Step { line, text, commands: 1, output });
        }
        Ok(steps)
    }
}

/// The document with other outputs: for each, the lines it stands in and the lines to put there.
pub fn rewritten(text: &str, mut changes: Vec<(&Output, Vec<String>)>) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    changes.sort_by_key(|(output, _)| std::cmp::Reverse(output.at.start));
    for (output, new) in changes {
        let indented = |line: String| if line.is_empty() { line } else { format!("{:1$}{line}", "", output.indent) };
        lines.splice(output.at.clone(), new.into_iter().map(indented));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::{Document, rewritten};

    fn parse(text: &str) -> Document {
        Document::parse(text).unwrap_or_else(|wrong| panic!("{wrong:?}"))
    }

    /// Each step as `line: text => output`, with `|` between lines.
    fn check(text: &str, expected: &[&str]) {
        let steps = parse(text).steps;
        let show = |step: &super::Step| {
            let output = step.output.as_ref().map(|output| format!(" => {}", output.lines.join("|")));
            format!("{}: {}{}", step.line, step.text.replace('\n', "|"), output.unwrap_or_default())
        };
        assert_eq!(steps.iter().map(show).collect::<Vec<_>>(), expected);
    }

    fn check_wrong(text: &str, expected: &[&str]) {
        assert_eq!(Document::parse(text), Err(expected.iter().map(|line| (*line).to_owned()).collect()), "{text}");
    }

    #[test]
    fn commands_come_with_their_output() {
        check("# T\n\n```console\n$ a\none\n\ntwo\n\n$ b\n```\n", &["4: a => one||two", "9: b => "]);
    }

    #[test]
    fn a_command_may_take_several_lines() {
        check("```console\n$ a \\\n  -b\nout\n```\n", &["2: a \\|  -b => out"]);
        check("```console\n$ a 'x\n$ y'\nout\n```\n", &["2: a 'x|$ y' => out"]);
        check("```console\n$ cat >f <<'EOF'\nit's\nEOF\n$ b\n```\n", &["2: cat >f <<'EOF'|it's|EOF => ", "5: b => "]);
    }

    #[test]
    fn scripts_are_one_step() {
        check("text\n```sh\na &\n\n# why\nb 'x\ny'\n```\n", &["3: a &||# why|b 'x|y'"]);
        assert_eq!(parse("```sh\na &\n\n# why\nb 'x\ny'\n```\n").commands(), 2);
    }

    #[test]
    fn other_fences_hold_no_commands() {
        check("```yaml\n$ a\n```\n```\nshunt sim\n```\n", &[]);
        check("````text\n```console\n$ a\n```\n````\n", &[]);
        check_wrong("```\n$ a\n```\n", &["1: `$ ` in a fence without a language: make it `console`"]);
        check_wrong("```bash\na\n```\n", &["1: commands stand in `console` or `sh`, not in `bash`"]);
    }

    #[test]
    fn an_excuse_has_a_reason_and_a_fence() {
        let document = parse("<!-- not run: it takes ten minutes -->\n```sh\nmake bench\n```\n");
        assert_eq!((document.steps.len(), document.not_run), (0, vec![(2, "it takes ten minutes".to_owned())]));
        check_wrong("<!-- not run: no -->\n```sh\na\n```\n", &["2: a reason says more than `no`"]);
        check_wrong("<!-- not run: a good reason -->\n\n```sh\na\n```\n", &["1: `not run` stands before no fence"]);
        check_wrong(
            "<!-- not run: a good reason -->\n```yaml\na\n```\n",
            &["2: `not run` stands before a fence without commands"],
        );
    }

    #[test]
    fn what_is_not_finished_is_said() {
        check_wrong("```console\n$ a\n", &["1: this fence is never closed"]);
        check_wrong("```console\n$ a 'b\n```\n", &["2: this command is not finished"]);
        check_wrong("```console\nout\n```\n", &["2: a `console` fence begins with `$ ` and a command"]);
        check_wrong("```sh\n# nothing\n```\n", &["1: no command in this fence"]);
        check_wrong("```sh\na \\\n```\n", &["1: the last command of this fence is not finished"]);
    }

    #[test]
    fn outputs_are_rewritten_in_place() {
        let text = "- list\n\n  ```console\n  $ a\n  old\n\n  $ b\n  ```\n";
        let document = parse(text);
        let outputs: Vec<_> = document.steps.iter().filter_map(|step| step.output.as_ref()).collect();
        assert_eq!(outputs[0].lines, ["old"]);
        let lines = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
        let new = rewritten(text, vec![(outputs[0], lines("x||y")), (outputs[1], lines("z"))]);
        assert_eq!(new, "- list\n\n  ```console\n  $ a\n  x\n\n  y\n\n  $ b\n  z\n  ```\n");
        assert_eq!(rewritten(text, Vec::new()), text);
    }
}
