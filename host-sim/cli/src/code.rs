//! `--wasm-file` and `--wasm-url`: where a proxy finds the compiled filter, and how it gets there.

use crate::arguments::{RenderMeshOptions, RenderWasmOptions};
use crate::failure::Failure;
use crate::{module, output, say};
use envoy_render::Code;
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// What the options of a mesh say.
pub(crate) fn of_mesh(options: &RenderMeshOptions, module: &Option<PathBuf>) -> Result<Code, Failure> {
    match (&options.wasm_url, &options.wasm_file) {
        (Some(url), _) => {
            let sha256 = sha256(url, module)?;
            Ok(Code::Url { url: url.clone(), sha256 })
        }
        (None, file) => {
            let file = file.clone().unwrap_or_default();
            if !file.starts_with('/') {
                return Err(Failure::Usage(format!(
                    "--wasm-file {file}: name it from the root on, as in /etc/shunt/filter.wasm"
                )));
            }
            module::sound(module)?;
            Ok(Code::File(file))
        }
    }
}

/// `shunt render wasm`: writes the compiled filter, and prints its sum as `sha256sum` does.
pub(crate) fn write(options: &RenderWasmOptions, module: &Option<PathBuf>) -> Result<(), Failure> {
    let RenderWasmOptions { output: file } = options;
    let bytes = module::sound(module)?;
    output::to_file(file, &bytes)?;
    output::to_stdout(std::io::stdout().lock(), &format!("{}  {}\n", sum(&bytes), file.display()))
}

/// SHA-256 in hexadecimal digits.
fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The sum of what is fetched from `url`. An image has a sum of its own, that of its manifest, which only its name can tell.
pub(crate) fn sha256(url: &str, module: &Option<PathBuf>) -> Result<Option<String>, Failure> {
    let bytes = module::sound(module)?;
    if !["oci://", "http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(Failure::Usage(format!("--wasm-url {url}: begin with oci://, http:// or https://")));
    }
    if !url.starts_with("oci://") {
        return Ok(Some(sum(&bytes)));
    }
    let Some((_, digest)) = url.split_once('@') else {
        say::note("the image is not pinned: whatever has this name when it is fetched is run; name it with @sha256:…");
        return Ok(None);
    };
    let is_hex = |digits: &&str| digits.len() == 64 && digits.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    match digest.strip_prefix("sha256:").filter(is_hex) {
        Some(digits) => Ok(Some(digits.to_owned())),
        None => {
            Err(Failure::Usage(format!("--wasm-url {url}: behind `@` comes sha256: and 64 digits from 0-9 and a-f")))
        }
    }
}
