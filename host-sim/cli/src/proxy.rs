//! `shunt proxy`: serves the rules on real sockets, and goes on serving while files change.

use crate::arguments::{Manifests, Mesh, ProxyOptions};
use crate::deployment::Deployment;
use crate::failure::Failure;
use crate::inbound::{application, say_what_is_missing};
use crate::watch::Watch;
use crate::{module, say};
use istio_config::yaml::Sources;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use traffic_proxy::{Handle, Settings, serve};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// How long requests under way may take when the proxy stops.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) fn run(options: &ProxyOptions, module: &Option<PathBuf>) -> Result<(), Failure> {
    let ProxyOptions { manifests, listen, inbound, admin, mesh, workers } = options;
    let application = application(inbound, &[Some(("--listen", *listen)), admin.map(|admin| ("--admin", admin))])?;
    // Before the first look at the files: what changes while they are read is seen as a change.
    let mut watch = Watch::new(&manifests.files, manifests.recursive);
    let deployment = Deployment::load(manifests, mesh)?;
    let compiled = module::compiled(module)?;
    let path_normalization = mesh.path_normalization;
    let mut settings = Settings { application, admin: *admin, path_normalization, ..Settings::new(*listen) };
    if let Some(workers) = workers {
        settings.workers = usize::from(*workers);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let handler = stop.clone();
    ctrlc::set_handler(move || handler.store(true, Ordering::Relaxed))
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let handle =
        serve(settings, compiled, for_the_proxy(&deployment)).map_err(|error| Failure::Failed(error.to_string()))?;
    let handle = Arc::new(handle);
    // The admin page can stop it too (`POST /quitquitquit`).
    let (ended, waiting) = (stop.clone(), handle.clone());
    std::thread::spawn(move || {
        waiting.wait();
        ended.store(true, Ordering::Relaxed);
    });
    say::note(&format!("serving on http://{}", handle.local_addr()));
    if let (Some(inbound), Some(application)) = (handle.inbound_addr(), application) {
        say::note(&format!("what comes to http://{inbound} goes to the application on http://{}", application.address));
    }
    say_what_is_missing(application, &deployment.filter);
    if let Some(admin) = handle.admin_addr() {
        say::note(&format!("statistics on http://{admin}/stats/prometheus"));
    }
    // Standard input can be read once only, so what came from there could not be served again beside changed files.
    let may_reload = !manifests.files.iter().any(|path| path.as_os_str() == "-");
    if !may_reload {
        say::note("rules from standard input are not reloaded");
    }
    let mut served = deployment.sources();
    drop(deployment);
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK_EVERY);
        if may_reload && watch.has_changed() {
            served = reload(manifests, mesh, &handle, &served).unwrap_or(served);
        }
    }
    say::note("stopping");
    handle.drain(GRACE);
    handle.wait();
    Ok(())
}

/// A configuration that is refused changes nothing: what runs goes on. Where the objects that are served now stand; `None` where
/// `served` still is.
fn reload(manifests: &Manifests, mesh: &Mesh, handle: &Handle, served: &Sources) -> Option<Arc<Sources>> {
    let reloaded = Deployment::load(manifests, mesh).and_then(|deployment| {
        let sources = deployment.sources();
        refuse_half_written(&sources, served)?;
        let deployed = handle.deploy(for_the_proxy(&deployment));
        deployed.map_err(|refused| Failure::Failed(refused.to_string()))?;
        Ok(sources)
    });
    match reloaded {
        Ok(sources) => {
            say::note("reloaded");
            Some(sources)
        }
        Err(failure) => {
            if let Some(message) = failure.message() {
                say::error(message);
            }
            say::note("the files are not served as they are now; what ran before goes on");
            None
        }
    }
}

/// Editors and scripts empty a file before they write it, and some never come to the second step. Without its objects the rest
/// may well be sound: a policy or a rule would go off in silence.
fn refuse_half_written(now: &Sources, served: &Sources) -> Result<(), Failure> {
    let emptied = now.emptied_since(served);
    if emptied.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "{}: empty now, and there were objects in it; write it again, or remove the file or leave a comment in it if that is meant",
        emptied.join(", ")
    )))
}

fn for_the_proxy(deployment: &Deployment) -> traffic_proxy::Deployment {
    traffic_proxy::Deployment {
        plan: deployment.plan.clone(),
        filter_configuration: deployment.filter_configuration(),
        inbound_configuration: deployment.inbound_configuration(),
    }
}
