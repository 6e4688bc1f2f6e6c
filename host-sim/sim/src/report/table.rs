//! Plain text in columns: numbers right, words left, nothing wider than it must be.

use std::fmt::{self, Write};

/// No line of a report is wider.
pub(crate) const WIDTH: usize = 96;

/// Rows of cells. The first column is words, the others are numbers; a row of one cell is a heading.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// This table, and below it the rows of another in the same columns.
    pub(crate) fn followed_by(mut self, other: Self) -> Self {
        self.rows.extend(other.rows);
        self
    }

    /// The first column takes what the others leave, up to its need, and is cut where that is too much.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize| {
            let rows = self.rows.iter().filter(|row| row.len() > 1);
            rows.filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let rest: usize = (1..columns).map(|column| widest(column) + 2).sum();
        let first = widest(0).min(WIDTH.saturating_sub(rest + 2)).max(8);
        for row in &self.rows {
            if let [heading] = row.as_slice() {
                writeln!(f, "  {}", shorten(heading, WIDTH - 2))?;
                continue;
            }
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                if column == 0 {
                    write!(line, "  {:first$}", shorten(cell, first))?;
                } else {
                    write!(line, "  {cell:>width$}", width = widest(column))?;
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The text, or its beginning and three dots.
fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(3)).chain("...".chars()).collect()
}

/// A count with a blank between thousands: `12 345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A share with two places, rounded: `12.35 %`; `-` of nothing.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let hundredths = (u128::from(part) * 10_000 + u128::from(whole / 2)) / u128::from(whole);
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

/// A cluster as people say it: `outbound|80|v1|reviews.default.svc.cluster.local` is `reviews.default:80 v1`.
pub(crate) fn cluster(name: &str) -> String {
    // Both names of a cluster that stands for two have the same form.
    if let Some((first, then)) = name.strip_prefix("fallback|").and_then(|both| both.split_once("|outbound|")) {
        return format!("{}, and where that fails {}", cluster(first), cluster(&format!("outbound|{then}")));
    }
    let parts: Vec<&str> = name.splitn(4, '|').collect();
    match parts.as_slice() {
        ["outbound", port, "", host] => format!("{}:{port}", short_host(host)),
        ["outbound", port, subset, host] => format!("{}:{port} {subset}", short_host(host)),
        _ => name.to_owned(),
    }
}

/// A name without what every name in a cluster ends with.
pub(crate) fn short_host(text: &str) -> String {
    text.replacen(".svc.cluster.local", "", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1 234 567");
        assert_eq!(percent(1, 3), "33.33 %");
        assert_eq!(percent(2, 3), "66.67 %");
        assert_eq!(percent(1, 0), "-");
        assert_eq!(cluster("outbound|80|v1|reviews.default.svc.cluster.local"), "reviews.default:80 v1");
        assert_eq!(cluster("outbound|80||reviews"), "reviews:80");
        assert_eq!(cluster("odd"), "odd");
    }
}
