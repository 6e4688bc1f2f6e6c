//! `shunt render`: the rules as files for Envoy.

use crate::arguments::RenderEnvoyOptions;
use crate::deployment::Deployment;
use crate::failure::Failure;
use crate::module;
use crate::output::Output;
use envoy_render::{Format, Options, bootstrap};
use std::path::PathBuf;

/// `shunt render envoy`: a bootstrap with everything in it.
pub(crate) fn envoy(options: &RenderEnvoyOptions, module: &Option<PathBuf>) -> Result<(), Failure> {
    let RenderEnvoyOptions { manifests, listen, admin, mesh, output } = options;
    let output = Output::new(output, &["yaml", "json"])?;
    let bytes = module::bytes(module)?;
    if module.is_some() {
        // What Envoy would refuse at its start is refused here.
        module::compiled(module)?;
    }
    let deployment = Deployment::load(manifests, mesh)?;
    let options = Options { listen: *listen, admin: *admin, path_normalization: mesh.path_normalization };
    let rendered = bootstrap(&deployment.plan, &deployment.filter, &bytes, &options);
    // Envoy tells the form by the file's name.
    let format = match output.file() {
        Some(file) => Format::of_file(file),
        None if output.is_json() => Format::Json,
        None => Format::Yaml,
    };
    output.write(&format.write(&rendered, &["Written by `shunt render envoy`: run `envoy -c` with this file."]))
}
