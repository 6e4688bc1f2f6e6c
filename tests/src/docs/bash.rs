//! The steps of a document in one bash.
//!
//! It has a network of its own, so that ports never collide, and processes of its own, so that nothing outlives it: when
//! its first process ends, by itself or because its time is up, the system ends all others. Its `/dev/shm` is its own as
//! well, since an Envoy that starts takes away the memory of another one there.

use super::Step;
use std::fmt::Write;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A shell with a network, processes and mounts of its own, that ends with the program that called it.
const APART: [&str; 7] = ["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"];

/// Brings up loopback, where `ip` is not installed: ioctl `SIOCSIFFLAGS` with `IFF_UP`.
const LOOPBACK: &str = "import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH14x', b'lo', 1))";

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit status of its last command.
    Status(i32),
    /// It was under way when the shell ended or its time was up.
    UnderWay,
    /// It was never begun.
    NotBegun,
}

/// What came of a step.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// What it said on stdout and stderr. Of servers it left behind: what they said until all was over.
    pub said: String,
}

/// Whether this system lets us make a network of our own.
///
/// # Errors
///
/// It does not, and why.
pub fn is_possible() -> Result<(), String> {
    static ANSWER: OnceLock<Result<(), String>> = OnceLock::new();
    let ask = || match Command::new("unshare").args(APART).args(["bash", "-c", "true"]).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("unshare: {error}")),
    };
    ANSWER.get_or_init(ask).clone()
}

/// Runs the steps in the folder `at`, with `programs` first in PATH. `notes` is a folder for what is written down
/// meanwhile. Ends after `limit` at the latest.
///
/// # Errors
///
/// Files cannot be written, or the shell cannot be started.
pub fn run(steps: &[Step], at: &Path, programs: &Path, notes: &Path, limit: Duration) -> io::Result<Vec<Outcome>> {
    for (number, step) in steps.iter().enumerate() {
        // The shell counts lines as the document does.
        let text = format!("{}{}\n", "\n".repeat(step.line - 1), step.text);
        std::fs::write(notes.join(format!("{number}.sh")), text)?;
    }
    std::fs::write(notes.join("all.sh"), script(steps))?;
    let path = std::env::var("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").unwrap_or_default();
    let mut shell = Command::new("unshare")
        .args(APART)
        .args(["bash", "--noprofile", "--norc"])
        .arg(notes.join("all.sh"))
        .current_dir(at)
        .env_clear()
        .envs([("PATH", format!("{}:{path}", programs.display())), ("LC_ALL", "C.UTF-8".to_owned())])
        .env("HOME", home)
        .env("NOTES", notes)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    wait(&mut shell, limit)?;
    let ends = ends(&std::fs::read_to_string(notes.join("ends")).unwrap_or_default(), steps.len());
    let said = |number| std::fs::read(notes.join(format!("{number}.out"))).unwrap_or_default();
    let outcome = |(number, end)| Outcome { end, said: String::from_utf8_lossy(&said(number)).into_owned() };
    Ok(ends.into_iter().enumerate().map(outcome).collect())
}

/// Waits until the shell ends, or ends it.
fn wait(shell: &mut Child, limit: Duration) -> io::Result<()> {
    let begun = Instant::now();
    while shell.try_wait()?.is_none() {
        if begun.elapsed() > limit {
            shell.kill()?;
            shell.wait()?;
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Runs step after step in the shell that reads it, and notes how each ends.
fn script(steps: &[Step]) -> String {
    let mut script = format!(
        "ip link set lo up || python3 -c \"{LOOPBACK}\"\nmount -t tmpfs none /dev/shm\nexport -n NOTES\n_status=0\n"
    );
    for (number, step) in steps.iter().enumerate() {
        // `$?` is what the last command left, as in a terminal.
        let before = if step.output.is_some() { "set +e; (exit $_status)" } else { "set -e" };
        let _ = writeln!(
            script,
            "echo {number} begins >>\"$NOTES/ends\"; {before}; . \"$NOTES/{number}.sh\" >\"$NOTES/{number}.out\" 2>&1
_status=$?; echo {number} $_status >>\"$NOTES/ends\""
        );
    }
    script
}

/// How each step ended, by the notes of the script.
fn ends(notes: &str, steps: usize) -> Vec<End> {
    let mut ends = vec![End::NotBegun; steps];
    for line in notes.lines() {
        let (number, word) = line.split_once(' ').unwrap_or_default();
        let end = word.parse().map_or(End::UnderWay, End::Status);
        if let Some(place) = number.parse::<usize>().ok().and_then(|number| ends.get_mut(number)) {
            *place = end;
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::{End, is_possible, run};
    use crate::docs::Document;
    use crate::process;
    use std::path::Path;
    use std::time::{Duration, Instant};

    /// Each step of the document as how it ended and what it said; it runs in the folder `at`.
    fn outcomes(text: &str, at: &Path, limit: Duration) -> Option<Vec<(End, String)>> {
        if let Err(reason) = is_possible() {
            process::skipped("documents in a shell of their own", &reason);
            return None;
        }
        let notes = tempfile::tempdir().unwrap();
        let document = Document::parse(text).unwrap();
        let outcomes = run(&document.steps, at, Path::new("/none"), notes.path(), limit).unwrap();
        Some(outcomes.into_iter().map(|outcome| (outcome.end, outcome.said)).collect())
    }

    fn check(text: &str, expected: &[(End, &str)]) {
        let at = tempfile::tempdir().unwrap();
        let Some(outcomes) = outcomes(text, at.path(), Duration::from_secs(60)) else { return };
        let expected: Vec<_> = expected.iter().map(|(end, said)| (end.clone(), (*said).to_owned())).collect();
        assert_eq!(outcomes, expected, "{text}");
    }

    #[test]
    fn steps_share_one_shell() {
        check(
            "```console\n$ A=1; false\n$ echo $? $A $#\n$ ls /none 2>&1 >/dev/null | wc -l; cat <<E\n$A\nE\n```\n",
            &[(End::Status(1), ""), (End::Status(0), "1 1 0\n"), (End::Status(0), "1\n1\n")],
        );
    }

    #[test]
    fn a_script_stops_where_it_fails_and_the_document_with_it() {
        check(
            "```sh\necho a\nfalse\necho b\n```\n```console\n$ echo c\n```\n",
            &[(End::UnderWay, "a\n"), (End::NotBegun, "")],
        );
    }

    #[test]
    fn loopback_answers_and_is_nobody_elses() {
        let ask = "python3 -c 'import socket; socket.create_server((\"127.0.0.1\", 80)); print(80)'";
        check(&format!("```console\n$ {ask}\n```\n"), &[(End::Status(0), "80\n")]);
    }

    #[test]
    fn what_takes_too_long_is_ended_with_all_it_started() {
        let (begun, at) = (Instant::now(), tempfile::tempdir().unwrap());
        let text = "```sh\nsetsid bash -c 'while sleep 0.1; do echo >>beats; done' &\n```
```console\n$ until [ -s beats ]; do sleep 0.1; done; echo a; sleep 300\n```\n";
        let Some(outcomes) = outcomes(text, at.path(), Duration::from_secs(5)) else { return };
        assert!(begun.elapsed() < Duration::from_secs(100));
        assert_eq!(outcomes, [(End::Status(0), String::new()), (End::UnderWay, "a\n".to_owned())]);
        let beats = || std::fs::read(at.path().join("beats")).unwrap().len();
        let before = beats();
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(beats(), before, "nothing outlives the shell");
    }
}
