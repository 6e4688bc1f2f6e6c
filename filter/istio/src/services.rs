//! Which hosts there are and which ports they have: all that a destination without a port needs.

use crate::config::Config;
use crate::names;
use crate::virtual_service::Destination;
use std::collections::BTreeMap;

/// The service registry, as far as names go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    ports: BTreeMap<String, Vec<u16>>,
}

/// Why a destination's port is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortChoice {
    /// The rule names it, or the service has only this one.
    Certain(u16),
    /// The listener's port: the host is unknown, or has several ports (IST0112).
    Listener(u16),
}

impl PortChoice {
    /// The port itself.
    pub fn number(self) -> u16 {
        match self {
            Self::Certain(port) | Self::Listener(port) => port,
        }
    }
}

impl Services {
    /// Collects the hosts of every ServiceEntry.
    pub fn new(config: &Config) -> Self {
        let mut ports: BTreeMap<String, Vec<u16>> = BTreeMap::new();
        for entry in &config.service_entries {
            for host in &entry.spec.hosts {
                let known = ports.entry(names::full_host(host, entry.meta.namespace())).or_default();
                for port in &entry.spec.ports {
                    if let Ok(number) = u16::try_from(port.number)
                        && !known.contains(&number)
                    {
                        known.push(number);
                    }
                }
            }
        }
        Self { ports }
    }

    /// The ports of a host in file order; `None` for an unknown host. Names are compared in full.
    pub fn ports(&self, host: &str) -> Option<&[u16]> {
        self.ports.get(host).map(Vec::as_slice)
    }

    /// Every host with its ports, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u16])> {
        self.ports.iter().map(|(host, ports)| (host.as_str(), ports.as_slice()))
    }

    /// The port by which a client of one listener reaches `host`: 80 where it has that, else its first.
    pub fn main_port(&self, host: &str) -> Option<u16> {
        let ports = self.ports(host)?;
        ports.iter().find(|port| **port == 80).or(ports.first()).copied()
    }

    /// Istio's choice for a destination: its own port, else the service's only one, else the listener's
    /// (istio `route.go`, `GetDestinationCluster`). `host` is the destination's host in full.
    pub fn port_for(&self, destination: &Destination, host: &str, listener_port: u16) -> PortChoice {
        let named =
            destination.port.as_ref().and_then(|port| u16::try_from(port.number).ok()).filter(|port| *port != 0);
        match (named, self.ports(host)) {
            (Some(port), _) => PortChoice::Certain(port),
            (None, Some([only])) => PortChoice::Certain(*only),
            (None, _) => PortChoice::Listener(listener_port),
        }
    }
}
