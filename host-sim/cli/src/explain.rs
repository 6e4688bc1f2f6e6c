//! `shunt explain`: why a request goes where it goes.

use crate::arguments::ExplainOptions;
use crate::deployment::Deployment;
use crate::failure::Failure;
use crate::output::Output;
use crate::{input, module, say};
use envoy_plan::PathNormalization;
use istio_config::{Diagnostic, Severity};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use traffic_explain::carried::Surroundings;
use traffic_explain::{Answered, Asker, AskerError, Batch, Form, Request, RequestError, escaped, read, text};

/// Match blocks told for a single request unless another number is asked for.
const TRIED: u32 = 100;

/// Runs the command.
pub(crate) fn run(options: &ExplainOptions, module: &Option<PathBuf>) -> Result<(), Failure> {
    let ExplainOptions { manifests, request, headers, requests, host, tried, mesh, output } = options;
    let output = output.as_deref().unwrap_or(if requests.is_some() { "json" } else { "text" });
    let output = Output::new(output, &["text", "json"])?;
    let from_stdin = manifests.files.iter().chain(requests).filter(|path| path.as_os_str() == "-");
    if from_stdin.count() > 1 {
        return Err(Failure::Usage("standard input can be read once only".to_owned()));
    }
    // The call is understood before any file is read.
    match requests {
        Some(file) => many(options, file, module, host.as_deref(), tried.unwrap_or(0), &output),
        None if request.is_empty() => {
            Err(Failure::Usage("name a request: METHOD URL, -- curl …, or --requests FILE".to_owned()))
        }
        None => {
            let request = request_of(request, headers)?;
            let deployment = Deployment::load_quietly(manifests, mesh)?;
            one(&deployment, &request, module, mesh.path_normalization, tried.unwrap_or(TRIED), &output)
        }
    }
}

/// `METHOD URL`, a URL alone, or a curl command.
fn request_of(words: &[String], headers: &[String]) -> Result<Request, Failure> {
    let usage = |error: RequestError| Failure::Usage(escaped(&error.0));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut request = read::words(&words).map_err(usage)?;
    headers.iter().try_for_each(|line| request.add_line(line)).map_err(usage)?;
    Ok(request)
}

/// Explains one request, after what was found about the rules and hosts that it meets.
fn one(
    deployment: &Deployment,
    request: &Request,
    module: &Option<PathBuf>,
    normalization: PathNormalization,
    tried: u32,
    output: &Output,
) -> Result<(), Failure> {
    let module = module::compiled_once(module)?;
    let surroundings = Arc::new(deployment.surroundings());
    let mut asker = start(&module, deployment, &surroundings, normalization)?;
    let answer = asker.ask(request, tried)?;
    let concerns = |found: &Diagnostic| surroundings.concerns(&answer, found);
    deployment.report(concerns);
    let elsewhere = deployment.findings.iter().filter(|found| found.severity > Severity::Note && !concerns(found));
    match elsewhere.count() {
        0 => {}
        1 => say::note("1 finding elsewhere: shunt check shows it"),
        several => say::note(&format!("{several} findings elsewhere: shunt check shows them")),
    }
    output.write(&match output.is_json() {
        true => asker.ask_json(request, tried)? + "\n",
        false => text::write(&answer, &surroundings),
    })
}

fn start(
    module: &host_abi::Module,
    deployment: &Deployment,
    surroundings: &Arc<Surroundings>,
    normalization: PathNormalization,
) -> Result<Asker, Failure> {
    let configuration = deployment.filter_configuration();
    Asker::start(module, &configuration, surroundings.clone(), normalization)
        .map_err(|error| Failure::Failed(error.to_string()))
}

/// Explains every request of a file, in order. What is no request is said and counted, and the rest explained.
fn many(
    options: &ExplainOptions,
    file: &Path,
    module: &Option<PathBuf>,
    host: Option<&str>,
    tried: u32,
    output: &Output,
) -> Result<(), Failure> {
    let ExplainOptions { manifests, mesh, .. } = options;
    let deployment = Deployment::load(manifests, mesh)?;
    let content = input::bytes(file)?;
    let batch = Batch::read(&content).map_err(|error| Failure::file(file, escaped(&error.0)))?;
    let module = module::compiled_once(module)?;
    let surroundings = Arc::new(deployment.surroundings());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let start = |_| start(&module, &deployment, &surroundings, mesh.path_normalization);
    let mut askers = (0..workers).map(start).collect::<Result<Vec<_>, _>>()?;
    let tell = |asker: &mut Asker, request: &Request| match output.is_json() {
        true => asker.ask_json(request, tried),
        false => asker.ask(request, tried).map(|answer| text::write(&answer, &surroundings)),
    };
    let form = if output.is_json() { Form::Json } else { Form::Text };
    let progress = say::progress(batch.len(), "requests");
    let (mut kept, mut wrong) = (String::new(), 0_usize);
    batch.explain(host, form, &mut askers, tell, |Answered { count, text, faults }| {
        wrong = wrong.saturating_add(faults.len());
        for (number, error) in faults {
            progress.suspend(|| say::error(&format!("{}:{number}: {}", file.display(), escaped(&error.0))));
        }
        progress.inc(u64::try_from(count).unwrap_or_default());
        if output.file().is_none() {
            return progress.suspend(|| output.write(&text));
        }
        // A file is written whole or not at all.
        kept += &text;
        Ok(())
    })?;
    progress.finish_and_clear();
    if output.file().is_some() {
        output.write(&kept)?;
    }
    match wrong {
        0 => Ok(()),
        wrong => Err(Failure::Failed(format!("{wrong} of {} lines are no request", batch.len()))),
    }
}

impl From<AskerError> for Failure {
    fn from(error: AskerError) -> Self {
        Self::Failed(error.to_string())
    }
}
