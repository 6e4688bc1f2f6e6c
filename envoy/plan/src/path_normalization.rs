//! How far the path of a request is resolved before anything looks at it.

use std::fmt;
use std::str::FromStr;

/// Istio's `MeshConfig.pathNormalization.normalization`. It is no part of a [`crate::Plan`], as no object that a plan is
/// built from says it: whoever starts a host chooses, and every host of the same rules ought to be given the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathNormalization {
    /// Paths stay as they came.
    None,
    /// RFC 3986, as Envoy's `normalize_path` reads it. Istio's default.
    #[default]
    Base,
    /// [`Self::Base`], and `//` becomes `/`.
    MergeSlashes,
    /// `%2F` and `%5C` are slashes, in either case of their letters; then [`Self::MergeSlashes`].
    DecodeAndMergeSlashes,
}

impl PathNormalization {
    /// All of them, from the least to the most.
    pub const ALL: [Self; 4] = [Self::None, Self::Base, Self::MergeSlashes, Self::DecodeAndMergeSlashes];

    /// Istio's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Base => "BASE",
            Self::MergeSlashes => "MERGE_SLASHES",
            Self::DecodeAndMergeSlashes => "DECODE_AND_MERGE_SLASHES",
        }
    }
}

impl fmt::Display for PathNormalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No path normalisation of Istio has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPathNormalization(String);

impl fmt::Display for UnknownPathNormalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = PathNormalization::ALL.map(PathNormalization::name).join(", ");
        write!(f, "there is no path normalization `{}`; there are {known}", self.0)
    }
}

impl std::error::Error for UnknownPathNormalization {}

impl FromStr for PathNormalization {
    type Err = UnknownPathNormalization;

    /// Upper and lower case are the same. `DEFAULT`, which Istio has too, is [`PathNormalization::Base`].
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case("DEFAULT") {
            return Ok(Self::default());
        }
        let known = Self::ALL.into_iter().find(|known| text.eq_ignore_ascii_case(known.name()));
        known.ok_or_else(|| UnknownPathNormalization(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_others_refused_with_the_known_ones() {
        for known in PathNormalization::ALL {
            assert_eq!(known.to_string().to_lowercase().parse(), Ok(known));
        }
        assert_eq!("default".parse(), Ok(PathNormalization::Base));
        let error = "MERGE".parse::<PathNormalization>().unwrap_err().to_string();
        assert!(error.contains("`MERGE`") && error.contains("MERGE_SLASHES"), "{error}");
    }
}
