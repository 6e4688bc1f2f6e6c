//! `shunt schema`: what an editor needs to help with our own kinds.

use crate::arguments::{SchemaKind, SchemaOptions};
use crate::failure::Failure;
use crate::output::Output;

pub(crate) fn run(options: &SchemaOptions) -> Result<(), Failure> {
    let SchemaOptions { kind, output } = options;
    let output = Output::new(output, &["json"])?;
    let schema = match kind {
        SchemaKind::Scenario => traffic_sim::scenario_schema(),
        SchemaKind::ShuntPolicy => istio_config::shunt_policy::schema::schema(),
    };
    output.write(&format!("{schema:#}\n"))
}
