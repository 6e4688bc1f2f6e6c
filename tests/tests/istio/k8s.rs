//! The files for kustomize, before the admission webhook of a cluster.

use crate::world::programs;
use shunt_tests::istio::mesh::Mesh;
use shunt_tests::istio::objects;
use std::path::Path;

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn what_is_in_envoy_k8s_passes_istios_validation() {
    let mesh = Mesh::start(&programs(), &serde_json::json!({})).unwrap_or_else(|error| panic!("{error}"));
    let k8s = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/k8s");
    let overlays = std::fs::read_dir(k8s.join("overlays")).unwrap();
    let filters = overlays.map(|overlay| overlay.unwrap().path().join("envoyfilter.yaml"));
    let files: Vec<_> = filters.chain([k8s.join("base/subsets.yaml")]).collect();
    assert!(files.len() > 6, "only {files:?}");
    for file in files {
        let objects = objects::read(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert!(!objects.is_empty());
        for object in objects {
            mesh.validate(&object).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }
}
