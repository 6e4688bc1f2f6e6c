//! The configuration of the filter: the Istio objects themselves, and what ties their rules to profile routes.
//!
//! `shunt render` writes it, the filter reads it; this module is the one description of its form. A user can also paste
//! objects into it by hand: whatever is absent has a default.

use crate::ObjectRef;
use crate::config::Config;
use crate::diagnostic::{At, Diagnostics};
use crate::listeners::MESH;
use crate::outbound::OutboundMode;
use crate::{reader, scope, shunt_policy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The request header that tells Envoy which cluster the filter chose. Route and hosts remove it on the way up.
pub const CLUSTER_HEADER: &str = "x-shunt-cluster";

/// The request header that tells Envoy which profile route applies; absent means the default profile.
pub const PROFILE_HEADER: &str = "x-shunt-profile";

/// Names beginning so belong to the filter: what a client sends under them is removed.
pub const OWN_PREFIX: &str = "x-shunt-";

const API_VERSION: &str = "shunt.dev/v1alpha1";
const KIND: &str = "FilterConfig";

/// What the filter runs on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FilterConfig {
    /// The rules.
    pub config: Config,
    /// Which profile carries which rule; rules without an entry meet the default profile.
    pub bindings: Vec<ProfileBinding>,
    /// Namespace of the proxy: decides which short names reach a service.
    pub namespace: String,
    /// Labels of the proxy's workload, which `sourceLabels` are compared with.
    pub labels: BTreeMap<String, String>,
    /// What is done to trace context.
    pub tracing: Tracing,
    /// The listener of Istio's that the filter stands in. `None`: it is alone, on the one listener there is.
    pub listener: Option<Listener>,
    /// What a host meets that neither the registry nor a rule knows; `None`: 404.
    pub outbound: Option<OutboundTrafficPolicy>,
    /// How conditions see a header that comes more than once.
    pub repeated_headers: RepeatedHeaders,
    /// On which side of the application the filter stands.
    pub direction: Direction,
}

/// On which side of an application the filter stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Direction {
    /// Requests leave through it: it routes them.
    #[default]
    Outbound,
    /// Requests reach the application through it. It has no rules; it keeps what `propagate` says.
    Inbound,
}

/// Where in Istio the filter stands: one port of a sidecar's outbound side, or of a gateway.
///
/// There it serves the rules of this listener and no others, and leaves every request that none of their hosts names to the
/// routes that istiod has made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// `mesh`, or the name of a Gateway as `NAMESPACE/NAME`.
    pub gateway: String,
    /// The port of the services, or of the Gateway's server.
    pub port: u16,
}

impl Listener {
    /// Whether it belongs to a sidecar.
    pub fn is_mesh(&self) -> bool {
        self.gateway == MESH
    }
}

/// `outboundTrafficPolicy`, and what carries it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutboundTrafficPolicy {
    /// As in Istio's MeshConfig.
    pub mode: OutboundMode,
    /// The profile of requests that pass through; empty for the default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub profile: String,
}

/// How conditions see a header that comes more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RepeatedHeaders {
    /// Each value alone, as Envoy's own routes do since 1.39.
    #[default]
    Each,
    /// All values joined with commas, as they did before.
    Joined,
}

/// What is done to trace context on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tracing {
    /// Each request goes on under a new span, as a child of the one it came with: `x-b3-spanid`, `b3` and `traceparent`
    /// are renewed. Otherwise all trace headers pass untouched.
    #[serde(default)]
    pub fresh_spans: bool,
}

/// Ties one `http` rule, or the route of a service without rules, to the profile routes that carry its native policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileBinding {
    /// `namespace/name` of the VirtualService; empty for a service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub virtual_service: String,
    /// Index of the rule in `spec.http`, once delegates are written out ([`crate::delegates`]).
    #[serde(default)]
    pub http: usize,
    /// Host of the service in full; empty for a rule.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// One profile name for each combination of mirrors that a request may draw: entry `n` carries the rule's mirror
    /// `i` exactly when bit `i` of `n` is set. A rule without mirrors has one entry. An empty name is the default.
    pub profiles: Vec<String>,
    /// Where and by what requests go that may be asked of another version (`ShuntPolicy.fallback`). `None`: none may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<FallbackBinding>,
}

/// What carries the fallback of one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FallbackBinding {
    /// As [`ProfileBinding::profiles`].
    pub profiles: Vec<String>,
    /// By the cluster of a destination, the one that asks another where it fails. What is not here is asked alone.
    pub clusters: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    api_version: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Empty by now; here so that anything but a list is refused.
    #[serde(default, rename = "objects")]
    _objects: Vec<Value>,
    #[serde(default)]
    bindings: Vec<ProfileBinding>,
    #[serde(default)]
    tracing: Tracing,
    #[serde(default)]
    listener: Option<Listener>,
    outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    #[serde(default)]
    repeated_headers: RepeatedHeaders,
    #[serde(default)]
    direction: Direction,
}

impl FilterConfig {
    /// Reads the configuration; every fault lands in `diagnostics`.
    pub fn read(mut value: Value, diagnostics: &mut Diagnostics) -> Self {
        let own =
            ObjectRef { kind: KIND.into(), namespace: "".into(), name: "configuration".into(), ordinal: usize::MAX };
        // Taken out rather than copied: there may be ten thousand rules in it.
        let objects = match value.get_mut("objects") {
            Some(Value::Array(objects)) => std::mem::take(objects),
            _ => Vec::new(),
        };
        let raw: Raw = match reader::read(&value) {
            Ok(raw) => raw,
            Err(fault) => {
                let path = fault.rendered_path();
                let at = At::object(&own);
                let at = at.field(path.trim_start_matches('.'));
                diagnostics.error(&at, "bad-filter-config", fault.reason.to_string(), "see `shunt render`");
                return Self::default();
            }
        };
        for (found, wanted, field) in [(&raw.api_version, API_VERSION, "apiVersion"), (&raw.kind, KIND, "kind")] {
            if let Some(found) = found.as_deref().filter(|found| *found != wanted) {
                let at = At::object(&own);
                let message = format!("this filter reads `{wanted}`, not `{found}`");
                diagnostics.error(
                    &at.field(field),
                    "bad-filter-config",
                    message,
                    "render it with the same version of shunt",
                );
            }
        }
        let mut config = Config::default();
        for object in objects {
            config.add(object, diagnostics);
        }
        Self {
            config,
            bindings: raw.bindings,
            labels: raw.labels,
            tracing: raw.tracing,
            listener: raw.listener,
            outbound: raw.outbound_traffic_policy,
            repeated_headers: raw.repeated_headers,
            direction: raw.direction,
            namespace: raw.namespace.unwrap_or_else(|| "default".to_owned()),
        }
    }

    /// The JSON form, as [`FilterConfig::read`] takes it. DestinationRules and endpoints stay out: every VM would keep
    /// them, and the filter decides without them. So does what has no say on [`FilterConfig::listener`].
    pub fn to_json(&self) -> Value {
        if self.direction == Direction::Inbound {
            return self.inbound_json();
        }
        let needed = self.listener.as_ref().map(|listener| scope::needed(&self.config, listener, &self.namespace));
        let is_needed = |object: &&Value| needed.as_ref().is_none_or(|needed| needed.contains(&name_of(object)));
        let is_bound = |binding: &&ProfileBinding| {
            let name = binding
                .virtual_service
                .split_once('/')
                .map(|(namespace, name)| ["VirtualService", namespace, name].map(str::to_owned));
            needed.as_ref().is_none_or(|needed| name.is_some_and(|name| needed.contains(&name)))
        };
        let mut json = json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": self.namespace,
            "labels": self.labels,
            "objects": self.config.written.iter().filter(is_needed).filter_map(for_the_filter).collect::<Vec<_>>(),
            "bindings": self.bindings.iter().filter(is_bound).collect::<Vec<_>>(),
        });
        if let Some(fields) = json.as_object_mut() {
            if self.tracing != Tracing::default() {
                fields.insert("tracing".to_owned(), json!(self.tracing));
            }
            if let Some(listener) = &self.listener {
                fields.insert("listener".to_owned(), json!(listener));
            }
            if let Some(outbound) = &self.outbound {
                fields.insert("outboundTrafficPolicy".to_owned(), json!(outbound));
            }
            if self.repeated_headers != RepeatedHeaders::default() {
                fields.insert("repeatedHeaders".to_owned(), json!(self.repeated_headers));
            }
        }
        json
    }
}

impl FilterConfig {
    /// The configuration of the filter on the other side of the application, which belongs to this one.
    pub fn inbound(&self) -> Self {
        Self { direction: Direction::Inbound, ..self.clone() }
    }

    /// Whether a policy has something to keep.
    pub fn keeps_context(&self) -> bool {
        self.config.shunt_policies.iter().any(|policy| policy.spec.propagate.is_some())
    }

    /// Policies are all that the inbound side needs.
    fn inbound_json(&self) -> Value {
        let is_policy = |object: &&Value| object.get("kind").and_then(Value::as_str) == Some(shunt_policy::KIND);
        json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": self.namespace,
            "direction": self.direction,
            "objects": self.config.written.iter().filter(is_policy).collect::<Vec<_>>(),
        })
    }
}

/// Kind, namespace and name of a written object.
fn name_of(object: &Value) -> scope::Name {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let metadata = |field| text(object.get("metadata").and_then(|metadata| metadata.get(field)));
    let namespace = Some(metadata("namespace")).filter(|namespace| !namespace.is_empty());
    [text(object.get("kind")), namespace.unwrap_or_else(|| "default".to_owned()), metadata("name")]
}

/// What the filter needs of an object.
fn for_the_filter(written: &Value) -> Option<Value> {
    let kind = written.get("kind").and_then(Value::as_str);
    if kind == Some("DestinationRule") {
        return None;
    }
    let mut object = written.clone();
    if kind == Some("ServiceEntry")
        && let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.remove("endpoints");
    }
    Some(object)
}
