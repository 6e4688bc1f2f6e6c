//! Versions of Envoy, and what of the corpus only newer ones do.

use serde::Deserialize;
use std::fmt;
use std::path::Path;
use std::process::Command;

/// A version of Envoy, as `1.39.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Version([u16; 3]);

/// From which Envoy on a case is as it says. Before it must differ, or this is no longer true.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// The first version.
    pub envoy: Version,
    /// What was different before.
    pub because: String,
}

impl Version {
    /// The first one whose own routes, without the filter, do what the corpus says.
    pub const NATIVE: Self = Self([1, 39, 1]);

    /// The first one that goes on when a filter comes that it had to begin without; those before end with a segmentation fault.
    pub const HEALS: Self = Self([1, 38, 0]);

    /// What this program says of itself.
    ///
    /// # Errors
    ///
    /// It cannot be run, or says no version.
    pub fn of(envoy: &Path) -> Result<Self, String> {
        let output = Command::new(envoy).arg("--version").output();
        let output = output.map_err(|error| format!("{}: {error}", envoy.display()))?;
        // envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let found = said.split('/').find_map(|part| Self::try_from(part.to_owned()).ok());
        found.ok_or_else(|| format!("{}: no version in `{said}`", envoy.display()))
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // A build of Envoy's main branch is 1.41.0-dev.
        let release = text.split('-').next().unwrap_or_default();
        let numbers: Result<Vec<u16>, _> = release.split('.').map(str::parse).collect();
        let version = numbers.ok().and_then(|numbers| numbers.try_into().ok());
        version.map(Self).ok_or_else(|| format!("`{text}`: write a version of Envoy as 1.39.1"))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(version("1.9.12") < version("1.39.1") && version("1.39.1") < version("1.39.10"));
        assert_eq!(version("1.41.0-dev").to_string(), "1.41.0");
        for text in ["", "1.39", "1.39.x", "Clean"] {
            assert!(Version::try_from(text.to_owned()).unwrap_err().contains("1.39.1"), "{text}");
        }
    }
}
