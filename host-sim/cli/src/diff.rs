//! `shunt diff`: which rules changed, and what that means for requests.

use crate::arguments::{DiffOptions, Manifests, Mesh};
use crate::deployment::Deployment;
use crate::failure::Failure;
use crate::output::Output;
use crate::{input, say};
use envoy_plan::{Locality, PathNormalization};
use istio_config::filter_config::RepeatedHeaders;
use rule_analysis::diff::{Effort, Recorded, Sample, Side, diff};
use std::path::Path;
use traffic_explain::{Batch, Request, escaped};

/// Compares and reports. A side with an error is told and not compared; the other side's findings are told too.
pub(crate) fn run(options: &DiffOptions) -> Result<(), Failure> {
    let DiffOptions {
        old,
        new,
        recursive,
        namespace,
        requests,
        host,
        path_normalization,
        samples,
        seed,
        exit_code,
        output,
    } = options;
    let output = Output::new(output, &["text", "json"])?;
    let from_stdin = [Some(old), Some(new), requests.as_ref()].into_iter().flatten();
    if from_stdin.filter(|path| path.as_os_str() == "-").count() > 1 {
        return Err(Failure::Usage("standard input can be read once only".to_owned()));
    }
    let load = |path: &Path| {
        let (recursive, namespace) = (*recursive, namespace.clone());
        let mesh = Mesh {
            path_normalization: *path_normalization,
            fresh_spans: false,
            outbound_traffic_policy: None,
            repeated_headers: RepeatedHeaders::default(),
            labels: Vec::new(),
            locality: Locality::default(),
        };
        Deployment::load(&Manifests { files: vec![path.to_owned()], recursive, namespace, strict: false }, &mesh)
    };
    let (old, new) = (load(old), load(new));
    let (old, new) = (old?, new?);
    let [old, new] = [&old, &new].map(|side| Side::new(&side.filter, &side.policy, &side.plan));
    let samples = usize::try_from(*samples).unwrap_or(usize::MAX);
    let mut report = diff(&old, &new, Effort { samples, seed: *seed });
    let mut wrong = 0;
    if let Some(file) = requests {
        let recorded;
        (recorded, wrong) = compare_recorded(file, host.as_deref(), *path_normalization, [&old, &new])?;
        report.recorded = Some(recorded);
    }
    output.write(&if output.is_json() { format!("{:#}\n", report.to_json()) } else { report.to_text() })?;
    match wrong {
        0 if *exit_code && report.changes_requests() => Err(Failure::Found),
        0 => Ok(()),
        wrong => {
            let read = report.recorded.as_ref().map_or(0, |recorded| recorded.requests).saturating_add(wrong);
            Err(Failure::Failed(format!("{wrong} of {read} lines are no request")))
        }
    }
}

/// Compares every request of a file. What is no request is said and counted.
fn compare_recorded(
    file: &Path,
    host: Option<&str>,
    normalization: PathNormalization,
    [old, new]: [&Side<'_>; 2],
) -> Result<(Recorded, usize), Failure> {
    let content = input::bytes(file)?;
    let batch = Batch::read(&content).map_err(|error| Failure::file(file, error))?;
    let (mut recorded, mut wrong) = (Recorded::default(), 0_usize);
    for (number, request) in batch.requests(host) {
        match request.map(|request| request.admitted(normalization)) {
            Ok(Ok(request)) => recorded.add(old, new, &sample(&request)),
            Ok(Err(_)) => recorded.add_refused(),
            Err(error) => {
                say::error(&format!("{}:{number}: {}", file.display(), escaped(&error.0)));
                wrong = wrong.saturating_add(1);
            }
        }
    }
    Ok((recorded, wrong))
}

fn sample(request: &Request) -> Sample {
    Sample { pairs: request.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect() }
}
