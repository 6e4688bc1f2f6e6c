//! `shunt render`: the rules as files for Envoy.

use crate::arguments::RenderEnvoyOptions;
use crate::deployment::Deployment;
use crate::failure::Failure;
use crate::module;
use crate::output::Output;
use envoy_render::{CLUSTERS_FILE, Dynamic, Format, LISTENERS_FILE, Options, bootstrap, dynamic, native};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// `shunt render envoy`: a bootstrap with everything in it.
pub(crate) fn envoy(options: &RenderEnvoyOptions, module: &Option<PathBuf>) -> Result<(), Failure> {
    let RenderEnvoyOptions { manifests, listen, admin, mesh, dynamic, native: is_native, output } = options;
    let output = Output::new(output, &["yaml", "json"])?;
    let bytes = module::bytes(module)?;
    if module.is_some() {
        // What Envoy would refuse at its start is refused here.
        module::compiled(module)?;
    }
    let deployment = Deployment::load(manifests, mesh)?;
    let options = Options { listen: *listen, admin: *admin, path_normalization: mesh.path_normalization };
    if let Some(folder) = dynamic {
        return into_folder(folder, &deployment, &bytes, &options);
    }
    let (rendered, comment) = if *is_native {
        let comment = "Written by `shunt render envoy --native`: Envoy's own routes, without the filter.";
        (native(&deployment.plan, &deployment.filter, &options), comment)
    } else {
        let comment = "Written by `shunt render envoy`: run `envoy -c` with this file.";
        (bootstrap(&deployment.plan, &deployment.filter, &bytes, &options), comment)
    };
    // Envoy tells the form by the file's name.
    let format = match output.file() {
        Some(file) => Format::of_file(file),
        None if output.is_json() => Format::Json,
        None => Format::Yaml,
    };
    output.write(&format.write(&rendered, &[comment]))
}

/// The bootstrap of a folder whose other files Envoy watches.
const BOOTSTRAP_FILE: &str = "bootstrap.json";

/// `--dynamic`: clusters first, then the listener, each whole or not at all; the bootstrap only where it says something new.
fn into_folder(folder: &Path, deployment: &Deployment, module: &[u8], options: &Options) -> Result<(), Failure> {
    let failed = |error| Failure::file(folder, error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let folder = std::fs::canonicalize(folder).map_err(failed)?;
    let read = |file: &str| -> Option<Value> { serde_json::from_slice(&std::fs::read(folder.join(file)).ok()?).ok() };
    let before = read(CLUSTERS_FILE);
    let Dynamic { bootstrap, clusters, listeners } =
        dynamic(&deployment.plan, &deployment.filter, module, options, &folder, before.as_ref());
    let write = |file: &str, content: &Value| -> Result<(), Failure> {
        Output::new(&folder.join(file).to_string_lossy(), &["json"])?.write(&format!("{content}\n"))
    };
    if read(BOOTSTRAP_FILE).as_ref() != Some(&bootstrap) {
        write(BOOTSTRAP_FILE, &bootstrap)?;
    }
    for (file, mut content) in [(CLUSTERS_FILE, clusters), (LISTENERS_FILE, listeners)] {
        let digest = Sha256::digest(content.to_string());
        let version: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        if let Some(fields) = content.as_object_mut() {
            fields.insert("version_info".to_owned(), json!(version));
        }
        write(file, &content)?;
    }
    Ok(())
}
