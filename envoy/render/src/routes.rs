//! Profile routes: one for each native policy, chosen by the header that the filter writes.
//!
//! No match, weight or rewrite of any rule stands here. A route matches only a request that names a cluster, and only
//! the filter can name one; so without the filter nothing is served.

use crate::{hashing, proto};
use envoy_plan::{Backoff, CLUSTER_HEADER, DEFAULT_PROFILE, PROFILE_HEADER, Profile, RetryPolicy};
use serde_json::{Value, json};

/// What no upstream may see: the filter's two words, and those by which it drives Envoy's fault filter.
pub(crate) const REMOVED_HEADERS: [&str; 9] = [
    CLUSTER_HEADER,
    PROFILE_HEADER,
    "x-envoy-fault-abort-request",
    "x-envoy-fault-abort-grpc-request",
    "x-envoy-fault-abort-request-percentage",
    "x-envoy-fault-delay-request",
    "x-envoy-fault-delay-request-percentage",
    "x-envoy-fault-throughput-response",
    "x-envoy-fault-throughput-response-percentage",
];

/// The name of the route configuration.
pub(crate) const NAME: &str = "shunt";

/// The route configuration: one virtual host, whose routes are the profiles in order.
pub(crate) fn route_configuration(profiles: &[Profile]) -> Value {
    json!({
        "name": NAME,
        // A rule may mirror to a cluster that does not exist, which costs its copies and nothing else.
        "validate_clusters": false,
        "virtual_hosts": [{
            "name": "shunt",
            "domains": ["*"],
            "include_request_attempt_count": true,
            "request_headers_to_remove": REMOVED_HEADERS,
            "routes": profiles.iter().map(profile_route).collect::<Vec<_>>(),
        }],
    })
}

/// The route that carries out one profile, as it stands in the route configuration (Envoy's `Route`).
pub fn profile_route(profile: &Profile) -> Value {
    let Profile { name, timeout, retry, mirrors, hash_keys, falls_back } = profile;
    let chosen = if name == DEFAULT_PROFILE {
        json!({ "name": PROFILE_HEADER, "present_match": true, "invert_match": true })
    } else {
        json!({ "name": PROFILE_HEADER, "string_match": { "exact": name } })
    };
    let mirrors = (!mirrors.is_empty()).then(|| mirrors.iter().map(|cluster| mirror_policy(cluster)).collect());
    let keys = (!hash_keys.is_empty()).then(|| hash_keys.iter().map(hashing::policy).collect());
    let timeout = proto::duration(timeout.unwrap_or_default());
    let action = proto::with(
        // A gRPC client's own limit counts up to the rule's.
        json!({ "cluster_header": CLUSTER_HEADER, "timeout": timeout, "max_grpc_timeout": timeout }),
        [
            (
                "retry_policy",
                retry
                    .as_ref()
                    .map(|retry| proto::with(retry_policy(retry), [("retry_priority", falls_back.then(next_cluster))])),
            ),
            ("request_mirror_policies", mirrors),
            ("hash_policy", keys),
        ],
    );
    json!({
        "name": name,
        "match": { "prefix": "", "headers": [{ "name": CLUSTER_HEADER, "present_match": true }, chosen] },
        "route": action,
    })
}

/// A retry leaves out the cluster that failed; of one cluster alone, its priority.
fn next_cluster() -> Value {
    proto::extension(
        "envoy.retry_priorities.previous_priorities",
        "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
        json!({ "update_frequency": 1 }),
    )
}

/// As istiod writes it (`route/retry/retry.go`). A back-off that is Envoy's own default is left out.
fn retry_policy(policy: &RetryPolicy) -> Value {
    let RetryPolicy {
        retries,
        on,
        status_codes,
        per_try_timeout,
        avoid_previous_hosts,
        host_selection_attempts,
        backoff,
    } = policy;
    let on: Vec<&str> = on.iter().map(|condition| condition.name()).collect();
    let previous_hosts = || {
        json!([proto::extension(
            "envoy.retry_host_predicates.previous_hosts",
            "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
            json!({}),
        )])
    };
    let Backoff { base, max } = *backoff;
    let intervals = || json!({ "base_interval": proto::duration(base), "max_interval": proto::duration(max) });
    proto::with(
        json!({
            "retry_on": on.join(","),
            "num_retries": retries,
            "host_selection_retry_max_attempts": host_selection_attempts,
        }),
        [
            ("retriable_status_codes", (!status_codes.is_empty()).then(|| json!(status_codes))),
            ("per_try_timeout", per_try_timeout.map(proto::duration)),
            ("retry_host_predicate", avoid_previous_hosts.then(previous_hosts)),
            ("retry_back_off", (*backoff != Backoff::default()).then(intervals)),
        ],
    )
}

/// As istiod writes it (`TranslateRequestMirrorPolicy`), without a share: the filter has drawn already.
fn mirror_policy(cluster: &str) -> Value {
    json!({ "cluster": cluster, "trace_sampled": false, "disable_shadow_host_suffix_append": true })
}
