//! `shunt`: one command to check, rehearse, try and render traffic rules. Arguments, files and exit codes; every algorithm is
//! elsewhere.
//!
//! Exit codes are a contract: 0 for success, 1 when something was found or failed, 2 for a call that could not be
//! understood (an unknown option, a file that cannot be read). What a program reads goes to stdout, what a person is
//! told goes to stderr.

mod arguments;
mod cache;
mod check;
mod code;
mod command_line;
mod deployment;
mod diff;
mod envoy_gateway;
mod envoy_version;
mod explain;
mod failure;
mod folder;
mod inbound;
mod input;
mod mesh;
mod module;
mod names;
mod output;
mod proxy;
mod ramp;
mod render;
mod say;
mod schema;
mod sim;
mod size;
mod watch;

use arguments::{Arguments, Command, RenderTarget};
use clap::CommandFactory;
use envoy_render::Plugin;
use mesh::Kind;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match command_line::parse() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let done = match &arguments.command {
        Command::Sim(options) => sim::run(options, &arguments.module),
        Command::Proxy(options) => proxy::run(options, &arguments.module),
        Command::Check(options) => check::run(options),
        Command::Explain(options) => explain::run(options, &arguments.module),
        Command::Diff(options) => diff::run(options),
        Command::Ramp(options) => ramp::run(options, &arguments.module),
        Command::Schema(options) => schema::run(options),
        Command::Render(options) => match &options.target {
            RenderTarget::Envoy(options) => render::envoy(options, &arguments.module),
            RenderTarget::EnvoyFilter(options) => mesh::run(Kind::EnvoyFilter, options, &arguments.module),
            RenderTarget::WasmPlugin(options) => {
                mesh::run(Kind::Plugin(Plugin::WasmPlugin), options, &arguments.module)
            }
            RenderTarget::TrafficExtension(options) => {
                mesh::run(Kind::Plugin(Plugin::TrafficExtension), options, &arguments.module)
            }
            RenderTarget::Wasm(options) => code::write(options, &arguments.module),
            RenderTarget::EnvoyExtensionPolicy(options) => envoy_gateway::run(options, &arguments.module),
        },
        Command::Completion { shell } => {
            clap_complete::generate(*shell, &mut Arguments::command(), "shunt", &mut std::io::stdout());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                say::error(message);
            }
            failure.exit_code()
        }
    }
}
