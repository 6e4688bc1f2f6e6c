//! Manifests that are too large for the ways into a cluster.

use crate::say;
use serde_json::Value;

/// What `kubectl apply` can keep of an object in an annotation: all annotations of one take so many bytes at most.
const ANNOTATIONS_MAX: usize = 256 << 10;
/// What etcd takes at once, unless told otherwise.
const ETCD_MAX: usize = 3 << 19;

/// Warns of each object that is too large.
pub(crate) fn warn_of(objects: &[Value]) {
    for object in objects {
        if let Some(advice) = advice(object.to_string().len()) {
            let field = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            say::warning(&format!("{} {}: {advice}", field("/kind"), field("/metadata/name")));
        }
    }
}

/// What is to be done about an object of so many bytes.
fn advice(bytes: usize) -> Option<String> {
    let kib = bytes.div_ceil(1 << 10);
    if bytes > ETCD_MAX {
        return Some(format!(
            "{kib} KiB, and etcd takes 1536 at once: render less of the rules into one, by port (--port, each with a --name of its own) or for each workload the files that it needs"
        ));
    }
    (bytes > ANNOTATIONS_MAX).then(|| {
        format!("{kib} KiB, and `kubectl apply` can keep 256 in its annotation: use `kubectl apply --server-side`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_told_with_a_way_out() {
        assert_eq!(advice(256 << 10), None);
        assert!(advice((256 << 10) + 1).unwrap().contains("257 KiB"));
        assert!(advice(3 << 19).unwrap().contains("--server-side"));
        assert!(advice((3 << 19) + 1).unwrap().contains("--port"));
    }
}
