//! `shunt render`: the rules as files for Envoy.

use crate::arguments::RenderEnvoyOptions;
use crate::deployment::Deployment;
use crate::failure::Failure;
use crate::output::Output;
use crate::{folder, inbound, module, say};
use envoy_plan::Application;
use envoy_render::{Format, Options, bootstrap, native};
use std::net::SocketAddr;
use std::path::PathBuf;

/// `shunt render envoy`: a bootstrap with everything in it.
pub(crate) fn envoy(options: &RenderEnvoyOptions, module: &Option<PathBuf>) -> Result<(), Failure> {
    let RenderEnvoyOptions { manifests, listen, inbound, admin, mesh, dynamic, native: is_native, output } = options;
    let output = Output::new(output, &["yaml", "json"])?;
    check_addresses(*listen, *admin)?;
    let application = inbound::application(inbound, &[Some(("--listen", *listen)), Some(("--admin", *admin))])?;
    if let Some(Application { listen, .. }) = application.filter(|application| application.listen.port() == 0) {
        return Err(Failure::Usage(format!("--inbound {listen}: name a port from 1 to 65535")));
    }
    dynamic.as_deref().map_or(Ok(()), folder::check)?;
    let bytes = module::sound(module)?;
    let deployment = Deployment::load(manifests, mesh)?;
    if !*is_native {
        inbound::say_what_is_missing(application, &deployment.filter);
    }
    let path_normalization = mesh.path_normalization;
    let options = Options { listen: *listen, admin: *admin, path_normalization, application };
    if let Some(name) = dynamic {
        return folder::write(name, &deployment, &bytes, &options);
    }
    let (rendered, comment) = if *is_native {
        let comment = "Written by `shunt render envoy --native`: Envoy's own routes, without the filter.";
        if say_what_is_lost(&deployment) && manifests.strict {
            return Err(Failure::Failed(NOTHING_LOST.to_owned()));
        }
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

/// Why nothing is written, where something cannot be said.
pub(crate) const NOTHING_LOST: &str = "with --strict nothing may be lost";

/// Envoy's own routes know nothing of our policies: whoever takes this way out must hear what stays behind. Whether anything does.
fn say_what_is_lost(deployment: &Deployment) -> bool {
    let mut is_any = false;
    for policy in &deployment.filter.config.shunt_policies {
        let istio_config::ShuntPolicy { target_ref: _, stable: _, sticky, propagate, fallback, breaker, kill_switch } =
            &policy.spec;
        let is_on = kill_switch.as_ref().is_some_and(|switch| switch.on == Some(true));
        let parts = [
            (sticky.is_some(), "sticky: versions are drawn for each request"),
            (propagate.is_some(), "propagate: context is what applications hand on"),
            (fallback.is_some(), "fallback: what a version fails at fails"),
            (breaker.is_some(), "breaker: a version that fails keeps its share"),
            (kill_switch.is_some() && !is_on, "killSwitch: only other rules send everything to one version"),
            (is_on, "killSwitch: it is on, and the versions that get nothing by it get their share again"),
        ];
        for (_, lost) in parts.iter().filter(|(is_used, _)| *is_used) {
            is_any = true;
            say::note(&format!("{} is lost without the filter; {lost}", policy.meta.reference));
        }
    }
    is_any
}

/// Envoy would end at its start, or nobody would know where it listens.
fn check_addresses(listen: SocketAddr, admin: SocketAddr) -> Result<(), Failure> {
    for (option, address) in [("--listen", listen), ("--admin", admin)] {
        if address.port() == 0 {
            return Err(Failure::Usage(format!("{option} {address}: name a port from 1 to 65535")));
        }
    }
    let is_all = listen.ip().is_unspecified() || admin.ip().is_unspecified();
    if listen.port() == admin.port() && (is_all || listen.ip() == admin.ip()) {
        return Err(Failure::Usage(format!(
            "--listen {listen} and --admin {admin} are one port: requests would come to the administration page; give each its own"
        )));
    }
    Ok(())
}
