//! A request that no filter sees: with what the host answers it, and for what.
//!
//! Whether it is refused `upstream::arrival` says, and nobody else; here is only found what it stumbled over.

use crate::Request;
use serde::Serialize;

/// The answer of a host to what it shows to no filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// What stands where it may not, and where.
    pub why: String,
}

impl Refused {
    /// For a request that the host refuses with this status.
    pub(crate) fn new(request: &Request, status: u16) -> Self {
        let Request { authority, target, .. } = request;
        let why = first(target, |character| character.is_ascii_graphic())
            .map(|found| found.text("the path"))
            .or_else(|| first(authority, may_stand_in_authority).map(|found| found.text("Host")))
            .unwrap_or_else(|| of_target(target));
        Self { status, why }
    }
}

fn of_target(target: &str) -> String {
    match target {
        "" => "the path is empty: it begins with a slash".to_owned(),
        "*" if !target.starts_with('/') => "`*` is no path: only OPTIONS may ask for it, and no rule can".to_owned(),
        _ if !target.starts_with('/') => "the path does not begin with a slash".to_owned(),
        _ if target.contains('#') => {
            let at = target.chars().take_while(|character| *character != '#').count();
            format!("a fragment, `#`, at character {} of the path", at.saturating_add(1))
        }
        _ => match target.find("%00") {
            Some(at) => format!("an escaped NUL, `%00`, at character {} of the path", at.saturating_add(1)),
            None => "the path cannot be normalised".to_owned(),
        },
    }
}

struct Found {
    character: char,
    /// From 1.
    at: usize,
}

impl Found {
    fn text(&self, place: &str) -> String {
        let Self { character, at } = self;
        let what = match character {
            ' ' => "a blank".to_owned(),
            '\t' => "a tab".to_owned(),
            '\n' | '\r' => "a line break".to_owned(),
            '\0' => "a NUL".to_owned(),
            control if control.is_control() => format!("the control character U+{:04X}", u32::from(*control)),
            other if !other.is_ascii() => format!("`{other}`, which is not ASCII and not escaped,"),
            other => format!("`{other}`"),
        };
        format!("{what} at character {at} of {place}")
    }
}

fn first(text: &str, is_allowed: impl Fn(char) -> bool) -> Option<Found> {
    let mut characters = (1..).zip(text.chars());
    characters.find(|(_, character)| !is_allowed(*character)).map(|(at, character)| Found { character, at })
}

fn may_stand_in_authority(character: char) -> bool {
    character.is_ascii_graphic() && !r##""#/<>?\^`{|}"##.contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_plan::PathNormalization;

    fn check(method: &str, authority: &str, target: &str, expected: Option<(u16, &str)>) {
        let request = Request {
            method: method.to_owned(),
            scheme: "http".to_owned(),
            authority: authority.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
        };
        let found = request.admitted(PathNormalization::Base).err().map(|refused| (refused.status, refused.why));
        assert_eq!(found, expected.map(|(status, why)| (status, why.to_owned())), "{method} {authority} {target}");
    }

    #[test]
    fn what_is_refused_is_named_with_its_place() {
        check("GET", "a", "/a b", Some((400, "a blank at character 3 of the path")));
        check("GET", "a", "/a\tb", Some((400, "a tab at character 3 of the path")));
        check("GET", "a", "/\0", Some((400, "a NUL at character 2 of the path")));
        check("GET", "a", "/\u{1b}", Some((400, "the control character U+001B at character 2 of the path")));
        check(
            "GET",
            "a",
            "/\u{e9}",
            Some((400, "`\u{e9}`, which is not ASCII and not escaped, at character 2 of the path")),
        );
        check("GET", "a b", "/", Some((400, "a blank at character 2 of Host")));
        check("GET", "a{", "/", Some((400, "`{` at character 2 of Host")));
        check("GET", "a", "x", Some((400, "the path does not begin with a slash")));
        check("GET", "a", "", Some((400, "the path is empty: it begins with a slash")));
        check("GET", "a", "/x#y", Some((400, "a fragment, `#`, at character 3 of the path")));
        check("GET", "a", "/x%00", Some((400, "an escaped NUL, `%00`, at character 3 of the path")));
        check("OPTIONS", "a", "*", Some((404, "`*` is no path: only OPTIONS may ask for it, and no rule can")));
        check("GET", "a", "/", None);
    }
}
