//! The texts that a `StringMatch` takes, and whether one such set lies within another.
//!
//! `false` means "not proved". Texts are header values and paths, which hold no line ends, so `.*` takes all of them.

use crate::simple_regex::{self, Simple};
use istio_config::virtual_service::StringMatch;
use traffic_policy::Pattern;

/// A set of texts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TextSet {
    /// Every text.
    Any,
    Exact(String),
    Prefix(String),
    /// In lower case.
    ExactAnyCase(String),
    /// In lower case.
    PrefixAnyCase(String),
    /// What this RE2 pattern matches as a whole.
    Pattern(Pattern),
}

impl TextSet {
    /// The set of a sound matcher. `None` for a faulty one, which the policy reports.
    pub(crate) fn new(raw: &StringMatch, any_case: bool) -> Option<Self> {
        let StringMatch { exact, prefix, regex } = raw;
        Some(match (exact, prefix, regex) {
            (None, None, None) => Self::Any,
            (Some(text), None, None) if any_case => Self::ExactAnyCase(text.to_ascii_lowercase()),
            (Some(text), None, None) => Self::Exact(text.clone()),
            (None, Some(text), None) if text.is_empty() => Self::Any,
            (None, Some(text), None) if any_case => Self::PrefixAnyCase(text.to_ascii_lowercase()),
            (None, Some(text), None) => Self::Prefix(text.clone()),
            (None, None, Some(pattern)) => match simple_regex::simple(pattern) {
                Some(Simple::Exact(text)) => Self::Exact(text),
                Some(Simple::Prefix(text)) if text.is_empty() => Self::Any,
                Some(Simple::Prefix(text)) => Self::Prefix(text),
                None => Self::Pattern(Pattern::new(pattern)?),
            },
            _ => return None,
        })
    }

    /// Whether the set holds this text.
    pub(crate) fn holds(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(own) => own == text,
            Self::Prefix(own) => text.starts_with(own.as_str()),
            Self::ExactAnyCase(own) => text.eq_ignore_ascii_case(own),
            Self::PrefixAnyCase(own) => text.to_ascii_lowercase().starts_with(own.as_str()),
            Self::Pattern(pattern) => pattern.matches(text.as_bytes()),
        }
    }

    /// A text that every text of the set begins with, if case is no matter.
    pub(crate) fn sure_start(&self) -> String {
        match self {
            Self::Any => String::new(),
            Self::Exact(text) | Self::Prefix(text) | Self::ExactAnyCase(text) | Self::PrefixAnyCase(text) => {
                text.clone()
            }
            Self::Pattern(pattern) => simple_regex::sure_prefix(pattern.text()),
        }
    }

    /// Whether every text of this set is in `other`.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Any) => true,
            (Self::Any, _) => false,
            (Self::Exact(own), _) => other.holds(own),
            (Self::Prefix(own), Self::Prefix(other)) => own.starts_with(other.as_str()),
            (Self::Prefix(own), Self::PrefixAnyCase(other)) => own.to_ascii_lowercase().starts_with(other.as_str()),
            (Self::ExactAnyCase(own), Self::ExactAnyCase(other)) => own == other,
            (Self::ExactAnyCase(own) | Self::PrefixAnyCase(own), Self::PrefixAnyCase(other)) => {
                own.starts_with(other.as_str())
            }
            // With letters in it, the other takes only one of the spellings.
            (Self::ExactAnyCase(own) | Self::PrefixAnyCase(own), Self::Prefix(other)) => {
                own.starts_with(other.as_str()) && !other.bytes().any(|byte| byte.is_ascii_alphabetic())
            }
            (Self::Pattern(own), Self::Pattern(other)) => own == other,
            (Self::Pattern(own), Self::Prefix(other)) => {
                simple_regex::sure_prefix(own.text()).starts_with(other.as_str())
            }
            (Self::Pattern(own), Self::PrefixAnyCase(other)) => {
                simple_regex::sure_prefix(own.text()).to_ascii_lowercase().starts_with(other.as_str())
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> TextSet {
        let (form, text) = text.split_once(' ').unwrap_or((text, ""));
        let some = Some(text.to_owned());
        let (form, any_case) = form.strip_suffix("-any-case").map_or((form, false), |form| (form, true));
        let raw = match form {
            "exact" => StringMatch { exact: some, ..StringMatch::default() },
            "prefix" => StringMatch { prefix: some, ..StringMatch::default() },
            "regex" => StringMatch { regex: some, ..StringMatch::default() },
            _ => StringMatch::default(),
        };
        TextSet::new(&raw, any_case).unwrap()
    }

    fn check(inner: &str, outer: &str, expected: bool) {
        assert_eq!(set(inner).is_within(&set(outer)), expected, "{inner} within {outer}");
    }

    #[test]
    fn sets_lie_within_each_other() {
        for (inner, outer) in [
            ("exact /a", "exact /a"),
            ("exact /ab", "prefix /a"),
            ("prefix /ab", "prefix /a"),
            ("exact /A", "exact-any-case /a"),
            ("prefix-any-case /Ab", "prefix-any-case /a"),
            ("prefix-any-case /ab", "prefix /"),
            ("prefix /Ab", "prefix-any-case /a"),
            ("regex /a/[0-9]+", "prefix /a/"),
            ("regex /a/[0-9]+", "regex /a/[0-9]+"),
            ("exact /a/7", "regex /a/[0-9]+"),
            ("regex /a.*", "prefix /a"),
            ("prefix /a", "regex /a.*"),
            ("regex x|y", "regex .*"),
            ("exact x", "any"),
        ] {
            check(inner, outer, true);
        }
        for (inner, outer) in [
            ("prefix /a", "exact /a"),
            ("prefix /a", "prefix /ab"),
            ("exact-any-case /a", "exact /a"),
            ("prefix-any-case /a", "prefix /a"),
            ("regex /ab*", "prefix /ab"),
            ("exact /a/x", "regex /a/[0-9]+"),
            ("any", "prefix /"),
            ("regex (?i)/a", "prefix /a"),
        ] {
            check(inner, outer, false);
        }
    }
}
