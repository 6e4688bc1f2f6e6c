//! `shunt proxy`: serves the rules on real sockets, and goes on serving while files change.

use crate::arguments::{Manifests, Mesh, ProxyOptions};
use crate::deployment::Deployment;
use crate::failure::Failure;
use crate::inbound::{application, say_what_is_missing};
use crate::watch::Watch;
use crate::{module, say};
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
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK_EVERY);
        if may_reload && watch.has_changed() {
            reload(manifests, mesh, &handle);
        }
    }
    say::note("stopping");
    handle.drain(GRACE);
    handle.wait();
    Ok(())
}

/// A configuration that is refused changes nothing: what runs goes on.
fn reload(manifests: &Manifests, mesh: &Mesh, handle: &Handle) {
    let reloaded = Deployment::load(manifests, mesh).and_then(|deployment| {
        handle.deploy(for_the_proxy(&deployment)).map_err(|refused| Failure::Failed(refused.to_string()))
    });
    match reloaded {
        Ok(()) => say::note("reloaded"),
        Err(failure) => {
            if let Some(message) = failure.message() {
                say::error(message);
            }
            say::note("the files are not served as they are now; what ran before goes on");
        }
    }
}

fn for_the_proxy(deployment: &Deployment) -> traffic_proxy::Deployment {
    traffic_proxy::Deployment {
        plan: deployment.plan.clone(),
        filter_configuration: deployment.filter_configuration(),
        inbound_configuration: deployment.inbound_configuration(),
    }
}
