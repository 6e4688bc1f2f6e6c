//! `--inbound` and `--app`: the inbound side of a proxy.

use crate::arguments::InboundOptions;
use crate::failure::Failure;
use crate::say;
use envoy_plan::Application;
use istio_config::FilterConfig;
use std::net::SocketAddr;

/// Says where the one is of no use without the other.
pub(crate) fn say_what_is_missing(application: Option<Application>, filter: &FilterConfig) {
    match (application, filter.keeps_context()) {
        (Some(_), false) => say::warning("no ShuntPolicy here has `propagate`: of what comes in nothing is kept"),
        (None, true) => {
            say::note("`propagate` restores nothing here: headers are kept by --inbound, in front of --app")
        }
        _ => {}
    }
}

/// The inbound side, if it is asked for. `others` are the addresses that the proxy listens on besides, with their options.
pub(crate) fn application(
    options: &InboundOptions,
    others: &[Option<(&str, SocketAddr)>],
) -> Result<Option<Application>, Failure> {
    let InboundOptions { inbound, app } = options;
    let (Some(listen), Some(address)) = (*inbound, *app) else { return Ok(None) };
    if address.port() == 0 {
        return Err(Failure::Usage(format!("--app {address}: name the port that the application listens on")));
    }
    let is_one = |one: SocketAddr, other: SocketAddr| {
        let meets = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
        one.port() == other.port() && one.port() != 0 && meets
    };
    for (option, other) in others.iter().flatten().chain(&[("--app", address)]) {
        if is_one(listen, *other) {
            return Err(Failure::Usage(format!(
                "--inbound {listen} and {option} {other} are one port; give each its own"
            )));
        }
    }
    // What leaves would come in again, for ever.
    if let Some((option, other)) = others.iter().flatten().find(|(_, other)| is_one(address, *other)) {
        return Err(Failure::Usage(format!(
            "--app {address} is this proxy itself ({option} {other}); name the application"
        )));
    }
    Ok(Some(Application { listen, address }))
}
