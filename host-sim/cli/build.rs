//! Puts the compiled filter into the command, so that `shunt` needs nothing beside it.

use std::path::{Path, PathBuf};

fn main() {
    let module =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/wasm32-unknown-unknown/wasm/traffic_filter.wasm");
    println!("cargo::rerun-if-env-changed=SHUNT_MODULE");
    let module = std::env::var_os("SHUNT_MODULE").map_or(module, PathBuf::from);
    println!("cargo::rerun-if-changed={}", module.display());
    let out = std::env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default().join("filter.wasm");
    if let Err(error) = std::fs::copy(&module, out) {
        println!(
            "cargo::error=no compiled filter at {} ({error}): run `make wasm` first, or name one in SHUNT_MODULE",
            module.display()
        );
    }
}
