//! What a document shows against what came.
//!
//! One alignment serves three ends: it costs nothing exactly when the output is as shown, it is the difference to print
//! when not, and it tells what of the old text to keep when the document is rewritten.

/// Stands for any text in a line, and alone for any number of lines.
const ANY: &str = "…";

/// To put a line in another's place costs less than to take one away and add one, so that lines that changed pair up.
const CHANGED: usize = 2;
const MISSING: usize = 3;
const EXTRA: usize = 2;

/// What becomes of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pair<'a> {
    /// It is as shown.
    Same {
        shown: &'a str,
    },
    /// `…` on a line of its own; the lines that came there follow as `Covered`.
    Any,
    Covered,
    Missing {
        shown: &'a str,
    },
    Extra {
        came: &'a str,
    },
}

/// Lines as they are compared: without spaces at their ends and blank lines at the end of all.
pub fn lines(output: &str) -> Vec<String> {
    let mut lines: Vec<_> = output.lines().map(|line| line.trim_end().to_owned()).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// The difference, one line each with `-` for what was shown and `+` for what came. `None`: it is as shown.
pub fn difference(shown: &[String], came: &[String]) -> Option<String> {
    let (cost, pairs) = align(shown, came);
    let show = |pair: &Pair| match pair {
        Pair::Same { shown } => Some(format!("  {shown}")),
        Pair::Any => Some(format!("  {ANY}")),
        Pair::Covered => None,
        Pair::Missing { shown } => Some(format!("- {shown}")),
        Pair::Extra { came } => Some(format!("+ {came}")),
    };
    (cost > 0).then(|| pairs.iter().filter_map(show).collect::<Vec<_>>().join("\n"))
}

/// What to show instead: what came, and what was shown where it still fits.
pub fn updated(shown: &[String], came: &[String]) -> Vec<String> {
    let keep = |pair: &Pair| match pair {
        Pair::Same { shown } => Some((*shown).to_owned()),
        Pair::Any => Some(ANY.to_owned()),
        Pair::Extra { came } => Some((*came).to_owned()),
        Pair::Covered | Pair::Missing { .. } => None,
    };
    align(shown, came).1.iter().filter_map(keep).collect()
}

/// The cheapest way from one to the other.
fn align<'a>(shown: &'a [String], came: &'a [String]) -> (usize, Vec<Pair<'a>>) {
    let width = came.len() + 1;
    let fits: Vec<Vec<bool>> =
        shown.iter().map(|shown| came.iter().map(|came| is_like(shown, came)).collect()).collect();
    // `costs[i * width + j]`: from what is shown from line i on to what came from line j on.
    let mut costs = vec![0; (shown.len() + 1) * width];
    let moves = |costs: &[usize], i: usize, j: usize| {
        let is_any = shown.get(i).is_some_and(|line| line.trim() == ANY);
        let cost = |to_i: usize, to_j: usize, own: usize| (own + costs[to_i * width + to_j], (to_i, to_j));
        let (has_shown, has_came) = (i < shown.len(), j < came.len());
        let both = has_shown && has_came && !is_any;
        [
            (both && fits[i][j]).then(|| cost(i + 1, j + 1, 0)),
            (is_any && has_came).then(|| cost(i, j + 1, 0)),
            is_any.then(|| cost(i + 1, j, 0)),
            both.then(|| cost(i + 1, j + 1, CHANGED)),
            (has_shown && !is_any).then(|| cost(i + 1, j, MISSING)),
            (has_came && !is_any).then(|| cost(i, j + 1, EXTRA)),
        ]
    };
    let cheapest = |costs: &[usize], i, j| moves(costs, i, j).into_iter().flatten().min_by_key(|(cost, _)| *cost);
    for i in (0..=shown.len()).rev() {
        for j in (0..=came.len()).rev() {
            costs[i * width + j] = cheapest(&costs, i, j).map_or(0, |(cost, _)| cost);
        }
    }
    let mut pairs = Vec::new();
    let (mut i, mut j) = (0, 0);
    while let Some((_, to)) = cheapest(&costs, i, j) {
        let is_any = shown.get(i).is_some_and(|line| line.trim() == ANY);
        match (to.0 > i, to.1 > j) {
            (true, true) if fits[i][j] => pairs.push(Pair::Same { shown: &shown[i] }),
            (true, true) => pairs.extend([Pair::Missing { shown: &shown[i] }, Pair::Extra { came: &came[j] }]),
            (true, false) if is_any => pairs.push(Pair::Any),
            (true, false) => pairs.push(Pair::Missing { shown: &shown[i] }),
            (false, _) if is_any => pairs.push(Pair::Covered),
            (false, _) => pairs.push(Pair::Extra { came: &came[j] }),
        }
        (i, j) = to;
    }
    (costs[0], pairs)
}

/// Whether a line is as shown, with `…` for any text.
fn is_like(shown: &str, came: &str) -> bool {
    let mut parts = shown.trim_end().split(ANY);
    let Some(mut rest) = came.trim_end().strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::{difference, is_like, lines, updated};

    fn split(text: &str) -> Vec<String> {
        lines(&text.replace('|', "\n"))
    }

    /// `difference` is empty when the output is as shown.
    fn check(shown: &str, came: &str, expected: &str) {
        let difference = difference(&split(shown), &split(came)).unwrap_or_default();
        assert_eq!(difference.replace('\n', "|"), expected, "shown {shown}, came {came}");
    }

    fn check_updated(shown: &str, came: &str, expected: &str) {
        let new = updated(&split(shown), &split(came));
        assert_eq!(new.join("|"), expected, "shown {shown}, came {came}");
        assert_eq!(difference(&new, &split(came)), None, "the new text is right");
    }

    #[test]
    fn any_text_in_a_line() {
        for (shown, came, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a…", "ab", true),
            ("a…", "a", true),
            ("…b", "ab", true),
            ("…b", "abc", false),
            ("a…c…e", "abcde", true),
            ("a…c…e", "abde", false),
            ("a…a", "a", false),
            ("took … s, … a second", "took 0.1 s, 300 a second", true),
            ("a", "a  ", true),
        ] {
            assert_eq!(is_like(shown, came), expected, "{shown} against {came}");
        }
    }

    #[test]
    fn the_same_lines() {
        check("", "", "");
        check("a|b", "a|b", "");
        check("a|b", "a|b||", "");
        check("a  |b", "a|b ", "");
        check("a x…", "a xyz", "");
    }

    #[test]
    fn any_number_of_lines() {
        check("…", "", "");
        check("…", "a|b", "");
        check("a|…", "a", "");
        check("a|…|c|…", "a|b|b|c|d", "");
        check("…|c", "a|c|c", "");
        check("a|…|c", "a|b", "  a|  …|- c|+ b");
    }

    #[test]
    fn differences() {
        check("a|b|c", "a|x|c", "  a|- b|+ x|  c");
        check("a", "", "- a");
        check("", "a", "+ a");
        check("a|c", "a|b|c", "  a|+ b|  c");
        check("a|b|c", "a|c", "  a|- b|  c");
        check("a|", "b", "- a|+ b");
    }

    #[test]
    fn an_update_keeps_what_still_fits() {
        check_updated("a|b", "a|c|d", "a|c|d");
        check_updated("took … s|old", "took 0.1 s|new", "took … s|new");
        check_updated("head|…", "new head|x|y", "new head|…");
        check_updated("a|…|z", "a|b|y", "a|…|y");
        check_updated("a|b", "", "");
        check_updated("a|…|m|…|z", "a|1|m|2|y", "a|…|m|…|y");
    }
}
