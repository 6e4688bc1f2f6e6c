//! Where a workload runs.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// Labels that say where a workload runs, the first of which counts (istio `model.GetLocalityLabel`). Their values may have
/// dots in place of slashes, which a label of Kubernetes cannot hold.
const LOCALITY_LABELS: [&str; 2] = ["topology.istio.io/locality", "istio-locality"];

/// `REGION/ZONE/SUBZONE`; each part may be empty, which is a value like any other: unknown equals unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locality {
    /// A region.
    pub region: String,
    /// A zone of it.
    pub zone: String,
    /// A part of that.
    pub subzone: String,
}

impl Locality {
    /// The locality of a workload that says `written` of itself, or else has one of the labels for it.
    pub(crate) fn of(written: &str, labels: &BTreeMap<String, String>) -> Self {
        let label = || LOCALITY_LABELS.iter().find_map(|label| labels.get(*label));
        match label().filter(|_| written.is_empty()) {
            Some(label) if !label.contains('/') => label.replace('.', "/").as_str().into(),
            Some(label) => label.as_str().into(),
            None => written.into(),
        }
    }

    /// Nothing is known.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a pattern such as `region/*`, `region/zone` or `*` means this one (istio `util.LocalityMatch`).
    pub(crate) fn is_meant_by(&self, pattern: &str) -> bool {
        let Self { region, zone, subzone } = Self::from(pattern);
        (region == "*" || region == self.region)
            && (zone == "*" || zone.is_empty() || zone == self.zone)
            && (subzone == "*" || subzone.is_empty() || subzone == self.subzone)
    }

    /// The labels with which istiod tells it (`labelutil.AugmentLabels`).
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        let value = match name {
            "topology.kubernetes.io/region" => &self.region,
            "topology.kubernetes.io/zone" => &self.zone,
            "topology.istio.io/subzone" => &self.subzone,
            _ => return None,
        };
        Some(value.as_str()).filter(|value| !value.is_empty())
    }
}

impl From<&str> for Locality {
    /// Any text is one; what follows a third slash is dropped, as istiod does.
    fn from(text: &str) -> Self {
        let mut parts = text.split('/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Self { region: next(), zone: next(), subzone: next() }
    }
}

impl FromStr for Locality {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, zone, subzone } = self;
        f.write_str(region)?;
        for part in [zone, subzone].into_iter().take_while(|part| !part.is_empty()) {
            write!(f, "/{part}")?;
        }
        Ok(())
    }
}
