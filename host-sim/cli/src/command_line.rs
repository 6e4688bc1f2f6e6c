//! The arguments as people type them: what clap makes of them, and a better word where it would mislead.

use crate::arguments::Arguments;
use crate::say;
use clap::Parser;
use clap::error::{ContextKind, ErrorKind};
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;
use traffic_explain::read;

/// Options of `shunt explain` that take the next argument.
const WITH_ARGUMENT: [&str; 14] = [
    "-f",
    "--filename",
    "-n",
    "--namespace",
    "-H",
    "--header",
    "--requests",
    "--host",
    "--tried",
    "--path-normalization",
    "--locality",
    "-o",
    "--output",
    "--module",
];

/// The command line of this process; `Err` is the exit code where there is nothing to do, or no way to understand it.
pub(crate) fn parse() -> Result<Arguments, ExitCode> {
    let arguments = with_separator(std::env::args_os().collect());
    Arguments::try_parse_from(&arguments).map_err(|error| {
        let said = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
        let has_better = error.get(ContextKind::SuggestedArg).is_some();
        if error.kind() == ErrorKind::UnknownArgument && is_explain(&arguments) && !has_better {
            say::error(&format!(
                "unexpected argument '{said}': write METHOD URL and -H 'NAME: VALUE', or put the whole curl command behind --, \
                 as in `shunt explain -f DIR -- curl -X POST URL`"
            ));
            return ExitCode::from(2);
        }
        // Help goes to standard output; a reader that went away is no matter.
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

fn is_explain(arguments: &[OsString]) -> bool {
    arguments.iter().skip(1).any(|argument| argument == "explain")
}

/// Puts `--` before the word `curl` of `shunt explain -f FILE curl …`: all that follows is curl's.
fn with_separator(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let Some(start) = arguments.iter().position(|argument| argument == "explain") else { return arguments };
    let is_one_of = |argument: &OsStr, names: &[&str]| names.iter().any(|name| argument == *name);
    let has_files = |argument: &OsString| {
        let text = argument.to_string_lossy();
        text.starts_with("-f") || text.starts_with("--filename")
    };
    let (mut before, mut seen_files) = (OsString::new(), false);
    let mut curl = None;
    for (at, argument) in arguments.iter().enumerate().skip(start.saturating_add(1)) {
        let is_value = is_one_of(&before, &WITH_ARGUMENT);
        if argument == "--" {
            break;
        }
        if !is_value && argument.to_str().is_some_and(read::is_curl) {
            curl = Some(at).filter(|_| seen_files);
            break;
        }
        seen_files |= !is_value && has_files(argument);
        before = argument.clone();
    }
    if let Some(at) = curl {
        arguments.insert(at, "--".into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let found = with_separator(line.split(' ').map(OsString::from).collect());
        let found: Vec<_> = found.iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(found.join(" "), expected);
    }

    #[test]
    fn what_follows_curl_is_curls() {
        check("shunt explain -f x curl URL -s", "shunt explain -f x -- curl URL -s");
        check("shunt explain -f x -o json /usr/bin/curl -f U", "shunt explain -f x -o json -- /usr/bin/curl -f U");
        for same in [
            "shunt explain -f x -- curl URL -s",
            "shunt explain -f curl GET URL",
            "shunt explain curl URL -f x",
            "shunt explain -f x GET URL",
            "shunt check -f x curl",
        ] {
            check(same, same);
        }
    }
}
