//! The inbound side: a second listener, whose filter keeps what `propagate` says, and behind it the application.

use crate::bootstrap::Options;
use crate::listener::{self, FAULT_PREFIX, removal};
use crate::{filters, proto};
use envoy_plan::{APP_CLUSTER, Application};
use istio_config::filter_config::OWN_PREFIX;
use serde_json::{Value, json};
use std::time::Duration;

/// The name of the listener, of its filter and of its routes.
pub(crate) const NAME: &str = "shunt-inbound";

/// The listener. An id that it makes for a request is the one that filter and application see; it keeps a client's, as the other
/// listener keeps the application's.
pub(crate) fn listener(options: &Options, application: &Application, filter: Value) -> Value {
    let none = proto::duration(Duration::ZERO);
    let route = json!({ "cluster": APP_CLUSTER, "timeout": none, "max_grpc_timeout": none });
    let fields = json!({
        "stat_prefix": NAME,
        "early_header_mutation_extensions": [removal(&[OWN_PREFIX, FAULT_PREFIX])],
        "http_filters": [filter, filters::router()],
        "route_config": {
            "name": NAME,
            "virtual_hosts": [{
                "name": APP_CLUSTER,
                "domains": ["*"],
                "routes": [{ "match": { "prefix": "" }, "route": route }],
            }],
        },
    });
    let listener = listener::of(application.listen, options.path_normalization, fields);
    proto::with(listener, [("name", Some(json!(NAME))), ("traffic_direction", Some(json!("INBOUND")))])
}
