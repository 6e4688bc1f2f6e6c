//! Istio's networking API as the user wrote it: typed, complete, and with the place of every field.
//!
//! The types here are *raw*. They hold what stands in the file under Istio's own names and know nothing of what it
//! means: `traffic-policy` gives requests their meaning, `envoy-plan` gives it to clusters and retries. What
//! both of them need, and what is names rather than rules, lives here too: how Istio expands a short host name, how it
//! names a cluster, which ports a host has, and through which of them a rule is reached ([`names`], [`services`],
//! [`listeners`]).
//!
//! Reading never stops at the first fault. An unknown field, a wrong type or an impossible duration becomes a
//! [`Diagnostic`] with object, field path and a way out, and reading goes on behind it.

mod config;
mod decode;
pub mod delegates;
pub mod diagnostic;
mod duration;
pub mod filter_config;
mod kinds;
#[cfg(feature = "tools")]
mod kubernetes;
#[macro_use]
mod raw;
pub mod destination_rule;
pub mod gateway;
pub mod listeners;
pub mod names;
pub mod outbound;
mod reader;
pub mod scope;
pub mod service_entry;
pub mod services;
pub mod shunt_policy;
pub mod virtual_service;
#[cfg(feature = "yaml")]
pub mod yaml;

pub use config::{Config, Object, ObjectMeta, ObjectRef, Resource};
pub use destination_rule::DestinationRule;
pub use diagnostic::{Diagnostic, Diagnostics, FieldPath, Severity};
pub use duration::{DurationFault, GoDuration};
pub use filter_config::FilterConfig;
pub use gateway::Gateway;
pub use service_entry::ServiceEntry;
pub use shunt_policy::ShuntPolicy;
pub use virtual_service::VirtualService;
