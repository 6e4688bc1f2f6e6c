//! Keys and tables of `consistentHash` in Envoy's words, as istiod writes them (`ConsistentHashToHashPolicy`,
//! `ApplyRingHashLoadBalancer`).

use crate::proto;
use envoy_plan::{HashCookie, HashKey, LoadBalancing, RING_SIZE_MAX};
use serde_json::{Value, json};

/// A `RouteAction.HashPolicy`.
pub(crate) fn policy(key: &HashKey) -> Value {
    match key {
        HashKey::Header(name) => json!({ "header": { "header_name": name } }),
        HashKey::SourceIp => json!({ "connection_properties": { "source_ip": true } }),
        HashKey::QueryParameter(name) => json!({ "query_parameter": { "name": name } }),
        HashKey::Cookie(HashCookie { name, path, ttl, attributes }) => {
            let attribute = |(name, value): &(String, String)| json!({ "name": name, "value": value });
            let attributes = (!attributes.is_empty()).then(|| attributes.iter().map(attribute).collect());
            let cookie = proto::with(
                json!({ "name": name }),
                [
                    ("ttl", ttl.map(proto::duration)),
                    ("path", (!path.is_empty()).then(|| json!(path))),
                    ("attributes", attributes),
                ],
            );
            json!({ "cookie": cookie })
        }
    }
}

/// The field of a `Cluster` that gives its table a size.
pub(crate) fn sizes(balancing: LoadBalancing) -> Option<(&'static str, Value)> {
    match balancing {
        LoadBalancing::RingHash { size_min } => {
            Some(("ring_hash_lb_config", json!({ "minimum_ring_size": size_min.min(RING_SIZE_MAX) })))
        }
        LoadBalancing::Maglev { table_size } => Some(("maglev_lb_config", json!({ "table_size": table_size }))),
        LoadBalancing::LeastRequest | LoadBalancing::RoundRobin | LoadBalancing::Random => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn keys_are_written_as_istiod_writes_them() {
        for (key, expected) in [
            (HashKey::Header("x-user".to_owned()), json!({"header": {"header_name": "x-user"}})),
            (HashKey::SourceIp, json!({"connection_properties": {"source_ip": true}})),
            (HashKey::QueryParameter("u".to_owned()), json!({"query_parameter": {"name": "u"}})),
            (cookie("", None, &[]), json!({"cookie": {"name": "user"}})),
            (cookie("", Some(0), &[]), json!({"cookie": {"name": "user", "ttl": "0s"}})),
            (
                cookie("/shop", Some(60), &[("SameSite", "Lax"), ("Secure", "")]),
                json!({"cookie": {
                    "name": "user", "ttl": "60s", "path": "/shop",
                    "attributes": [{"name": "SameSite", "value": "Lax"}, {"name": "Secure", "value": ""}],
                }}),
            ),
        ] {
            assert_eq!(policy(&key), expected);
        }
    }

    fn cookie(path: &str, ttl: Option<u64>, attributes: &[(&str, &str)]) -> HashKey {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let ttl = ttl.map(Duration::from_secs);
        HashKey::Cookie(HashCookie { name: "user".to_owned(), path: path.to_owned(), ttl, attributes })
    }

    #[test]
    fn tables_are_written_with_their_sizes() {
        let ring = sizes(LoadBalancing::RingHash { size_min: 1024 });
        assert_eq!(ring, Some(("ring_hash_lb_config", json!({"minimum_ring_size": 1024}))));
        let table = sizes(LoadBalancing::Maglev { table_size: 7 });
        assert_eq!(table, Some(("maglev_lb_config", json!({"table_size": 7}))));
        assert_eq!(sizes(LoadBalancing::RoundRobin), None);
    }
}
