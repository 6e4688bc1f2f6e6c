//! Where a command ends: not inside quotes, not after a backslash, not inside a here-document.
//!
//! Enough of the shell's grammar for what documents hold. A loop over several lines is several commands here, which
//! matters only to counting: a fence of commands goes to the shell as one text.

use std::ops::Range;

/// The text so far is not a whole command yet.
pub fn is_open(text: &str) -> bool {
    let mut awaited: Vec<(String, bool)> = Vec::new();
    let mut rest = text;
    loop {
        let Some((line_end, delimiters)) = logical_line(rest) else { return true };
        awaited.extend(delimiters);
        rest = &rest[line_end..];
        // The bodies of here-documents follow the line that names them, one after the other.
        for (delimiter, strips_tabs) in awaited.drain(..) {
            loop {
                let Some(body) = rest.strip_prefix('\n') else { return true };
                let end = body.find('\n').unwrap_or(body.len());
                let line = if strips_tabs { body[..end].trim_start_matches('\t') } else { &body[..end] };
                rest = &body[end..];
                if line == delimiter {
                    break;
                }
            }
        }
        match rest.strip_prefix('\n') {
            Some(next) => rest = next,
            None => return false,
        }
    }
}

/// Reads up to a line end that is not quoted: its place, and the here-documents named so far, each with whether tabs
/// before its lines are ignored. `None`: a quote is open, or the last character is a backslash.
fn logical_line(text: &str) -> Option<(usize, Vec<(String, bool)>)> {
    let mut delimiters = Vec::new();
    let mut characters = text.char_indices().peekable();
    let mut starts_word = true;
    while let Some((at, character)) = characters.next() {
        let began_word = std::mem::replace(&mut starts_word, character.is_whitespace() || ";|&()".contains(character));
        match character {
            '\n' => return Some((at, delimiters)),
            '\\' => drop(characters.next()?),
            '\'' => drop(characters.find(|(_, next)| *next == '\'')?),
            '"' => loop {
                match characters.next()?.1 {
                    '"' => break,
                    '\\' => drop(characters.next()?),
                    _ => {}
                }
            },
            '#' if began_word => while characters.next_if(|(_, next)| *next != '\n').is_some() {},
            '<' => {
                let run = text[at..].chars().take_while(|next| *next == '<').count();
                while characters.next_if(|(_, next)| *next == '<').is_some() {}
                if run == 2 {
                    delimiters.extend(delimiter(&text[at + 2..]));
                }
            }
            _ => {}
        }
    }
    Some((text.len(), delimiters))
}

/// The word after `<<`, without its quotes.
fn delimiter(after: &str) -> Option<(String, bool)> {
    let bare = after.strip_prefix('-');
    let word = bare.unwrap_or(after).trim_start_matches(' ');
    let end = word.find(|character: char| character.is_whitespace() || ";|&<>()".contains(character));
    let word: String = word[..end.unwrap_or(word.len())].chars().filter(|part| !"'\"\\".contains(*part)).collect();
    // A number is a shift in arithmetic.
    let is_name = word.starts_with(|first: char| first.is_alphabetic() || first == '_');
    is_name.then_some((word, bare.is_some()))
}

/// The commands among these lines, without blank lines and comments. `None`: the last one is not finished.
pub fn split(lines: &[&str]) -> Option<Vec<Range<usize>>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let from = at;
        at += 1;
        let mut text = lines[from].to_owned();
        while is_open(&text) {
            text = format!("{text}\n{}", lines.get(at)?);
            at += 1;
        }
        let first = text.trim_start();
        if !first.is_empty() && !first.starts_with('#') {
            found.push(from..at);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::{is_open, split};

    #[test]
    fn a_command_is_open_in_quotes_after_a_backslash_and_in_a_here_document() {
        let open = [
            "a 'b",
            "a \"b",
            "a \"b\\\"",
            "a \\",
            "a \\\n  b \\",
            "a <<EOF",
            "a <<EOF\nEO",
            "a <<'EOF' | b\nx",
            "a <<-EOF\n\tx",
            "a <<A <<B\nA",
            "a <<A\nA\nb 'c",
        ];
        for text in open {
            assert!(is_open(text), "{text}");
        }
        let whole = [
            "",
            "a",
            "a 'b'",
            "a 'b\\'",
            "a \"b'c\" # it's",
            "a \\'",
            "a \\\n  b",
            "a b#c",
            "a <<EOF\nit's\nEOF",
            "a <<'EOF' >b\nx\nEOF",
            "a <<-EOF\n\tx\n\tEOF",
            "a <<A <<B\nA\nB",
            "a <<<word",
            "a $((1<<2))",
            "a < b",
        ];
        for text in whole {
            assert!(!is_open(text), "{text}");
        }
    }

    #[test]
    fn lines_become_commands() {
        let lines = ["a", "", "# why", "b \\", "  c", "cat <<E", "# d", "E", "f"];
        assert_eq!(split(&lines), Some(vec![0..1, 3..5, 5..8, 8..9]));
        assert_eq!(split(&["a", "b 'c"]), None);
    }
}
