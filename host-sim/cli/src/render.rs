//! `shunt render`: the rules as files for Envoy.

use crate::arguments::RenderEnvoyOptions;
use crate::deployment::Deployment;
use crate::failure::Failure;
use crate::module;
use crate::output::Output;
use envoy_render::{BOOTSTRAP_FILE, Dynamic, Format, Options, bootstrap, dynamic, native};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

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

/// `--dynamic`: each file whole or not at all, in the order in which Envoy has to find them.
///
/// Envoy looks again at what is written again, also where it says the same: so it takes a listener that it refused because
/// one of the other files was not there.
fn into_folder(folder: &Path, deployment: &Deployment, module: &[u8], options: &Options) -> Result<(), Failure> {
    let failed = |error| Failure::file(folder, error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let folder = std::fs::canonicalize(folder).map_err(failed)?;
    let read = |file: &str| -> Option<Value> { serde_json::from_slice(&std::fs::read(folder.join(file)).ok()?).ok() };
    let write = |file: &str, content: &Value| -> Result<(), Failure> {
        Output::new(&folder.join(file).to_string_lossy(), &["json"])?.write(&format!("{content}\n"))
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let Dynamic { bootstrap, files } =
        dynamic(&deployment.plan, &deployment.filter, module, options, &folder, read, now);
    files.iter().try_for_each(|(file, content)| write(file, content))?;
    // Nobody watches it, so it is written for the next start, and only where it says something new.
    if read(BOOTSTRAP_FILE).as_ref() == Some(&bootstrap) {
        return Ok(());
    }
    write(BOOTSTRAP_FILE, &bootstrap)
}
