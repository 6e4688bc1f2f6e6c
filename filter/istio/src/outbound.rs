//! `outboundTrafficPolicy`: what a host meets that neither the registry nor a rule knows.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Istio's `MeshConfig.outboundTrafficPolicy.mode`. No object of a namespace says it, so whoever starts a host chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundMode {
    /// The request goes where its Host says. Istio's default for a mesh.
    AllowAny,
    /// The request is answered 502.
    RegistryOnly,
}

impl OutboundMode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::AllowAny, Self::RegistryOnly];

    /// Istio's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllowAny => "ALLOW_ANY",
            Self::RegistryOnly => "REGISTRY_ONLY",
        }
    }
}

impl fmt::Display for OutboundMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no mode of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownOutboundMode(String);

impl fmt::Display for UnknownOutboundMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, other] = OutboundMode::ALL;
        write!(f, "there is no outbound traffic policy `{}`; there are {one} and {other}", self.0)
    }
}

impl std::error::Error for UnknownOutboundMode {}

impl FromStr for OutboundMode {
    type Err = UnknownOutboundMode;

    /// Upper and lower case are the same.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|known| text.eq_ignore_ascii_case(known.name()));
        known.ok_or_else(|| UnknownOutboundMode(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_in_any_case_and_others_refused_with_the_known_ones() {
        for known in OutboundMode::ALL {
            assert_eq!(known.to_string().to_lowercase().parse(), Ok(known));
            assert_eq!(serde_json::from_str(&format!("\"{known}\"")).ok(), Some(known));
        }
        let error = "ANY".parse::<OutboundMode>().unwrap_err().to_string();
        assert!(error.contains("`ANY`") && error.contains("REGISTRY_ONLY"), "{error}");
    }
}
