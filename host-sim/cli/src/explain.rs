//! `shunt explain`: why a request goes where it goes.

use crate::arguments::ExplainOptions;
use crate::deployment::Deployment;
use crate::failure::Failure;
use crate::output::Output;
use crate::{input, module, say};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use traffic_explain::{Answered, Asker, AskerError, Batch, Request, RequestError, read, text};

/// Match blocks told for a single request unless another number is asked for.
const TRIED: u32 = 100;

/// Runs the command.
pub(crate) fn run(options: &ExplainOptions, module: &Option<PathBuf>) -> Result<(), Failure> {
    let ExplainOptions { manifests, request, headers, requests, host, tried, mesh, output } = options;
    let output = output.as_deref().unwrap_or(if requests.is_some() { "json" } else { "text" });
    let output = Output::new(output, &["text", "json"])?;
    // The call is understood before any file is read.
    let single = if request.is_empty() { None } else { Some(one(request, headers)?) };
    let deployment = Deployment::load(manifests, mesh)?;
    let module = module::compiled(module)?;
    let configuration = deployment.filter_configuration();
    let surroundings = Arc::new(deployment.surroundings());
    let start = || {
        Asker::start(&module, &configuration, surroundings.clone(), mesh.path_normalization)
            .map_err(|error| Failure::Failed(error.to_string()))
    };
    let tell = |asker: &mut Asker, request: &Request, tried: u32| {
        if output.is_json() {
            return asker.ask_json(request, tried);
        }
        asker.ask(request, tried).map(|answer| text::write(&answer, &surroundings))
    };
    match (single, requests) {
        (Some(request), _) => {
            let mut told = tell(&mut start()?, &request, tried.unwrap_or(TRIED))?;
            if output.is_json() {
                told.push('\n');
            }
            output.write(&told)
        }
        (None, None) => Err(Failure::Usage("name a request: METHOD URL, -- curl …, or --requests FILE".to_owned())),
        (None, Some(file)) => {
            let workers = std::thread::available_parallelism().map_or(1, usize::from);
            let mut askers = (0..workers).map(|_| start()).collect::<Result<Vec<_>, _>>()?;
            let tried = tried.unwrap_or(0);
            many(file, host.as_deref(), &mut askers, |asker, request| tell(asker, request, tried), &output)
        }
    }
}

/// `METHOD URL`, a URL alone, or a curl command.
fn one(words: &[String], headers: &[String]) -> Result<Request, Failure> {
    let usage = |error: RequestError| Failure::Usage(error.to_string());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let request = match words[..] {
        ["curl", ref arguments @ ..] => read::from_curl(arguments.iter().copied()),
        [url] => Request::to("GET", url),
        [method, url] => Request::to(method, url),
        _ => Err(RequestError(format!("`{}`: write METHOD URL, or a curl command behind --", words.join(" ")))),
    };
    let mut request = request.map_err(usage)?;
    headers.iter().try_for_each(|line| request.add_line(line)).map_err(usage)?;
    Ok(request)
}

/// Explains every request of a file, in order. What is no request is said and counted, and the rest explained.
fn many(
    file: &Path,
    host: Option<&str>,
    askers: &mut [Asker],
    tell: impl Fn(&mut Asker, &Request) -> Result<String, AskerError> + Sync,
    output: &Output,
) -> Result<(), Failure> {
    let content = input::text(file)?;
    let batch = Batch::read(&content).map_err(|error| Failure::file(file, error))?;
    let progress = say::progress(batch.len(), "requests");
    let (mut kept, mut wrong) = (String::new(), 0_usize);
    batch.explain(host, askers, tell, |Answered { count, text, faults }| {
        wrong = wrong.saturating_add(faults.len());
        for (number, error) in faults {
            progress.suspend(|| say::error(&format!("{}:{number}: {error}", file.display())));
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
