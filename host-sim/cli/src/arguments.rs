//! The command line. Names and habits are those of kubectl and istioctl; other programs drive it, so it is a contract.

use crate::envoy_version;
use crate::names;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use envoy_plan::{Locality, PathNormalization};
use istio_config::filter_config::RepeatedHeaders;
use istio_config::outbound::OutboundMode;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use traffic_sim::{Percent, Percentile, Span};

/// Moves live traffic from one version of a service to the next, by Istio's rules, in any Envoy.
#[derive(Debug, Parser)]
#[command(name = "shunt", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Run this compiled filter instead of the one inside the command
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) module: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Rehearse: load and failures against the rules, in virtual time, through the compiled filter
    Sim(SimOptions),
    /// Try: a standalone proxy that serves the rules on real sockets and reloads changed files
    Proxy(ProxyOptions),
    /// Check: every fault and every surprise in the rules, with its place and a way out
    Check(CheckOptions),
    /// Explain: which rule takes a request and why, where it goes, and what is changed on the way
    Explain(ExplainOptions),
    /// Compare: which rules changed, and which requests meet another version or anything else
    Diff(DiffOptions),
    /// Ship: write the rules for Envoy
    Render(RenderOptions),
    /// Release: the manifests of each step from one version to the next, each rehearsed before the next
    Ramp(RampOptions),
    /// Print the JSON Schema of a kind of ours, for editors
    Schema(SchemaOptions),
    /// Print a completion script for a shell
    Completion {
        /// Which shell
        shell: Shell,
    },
}

/// Where manifests come from.
#[derive(Debug, Args)]
pub(crate) struct Manifests {
    /// File or directory with Istio objects as YAML or JSON, or `-` for standard input; may be repeated
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE|DIR|-")]
    pub(crate) files: Vec<PathBuf>,
    /// Read directories with everything below them
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Namespace of the proxy; decides which short names reach a service
    #[arg(short, long, default_value = "default", value_parser = names::namespace)]
    pub(crate) namespace: String,
    /// Fail on warnings too: on unknown hosts, ports and subsets, which istiod would serve as 503, and on all others
    #[arg(long)]
    pub(crate) strict: bool,
}

/// What Istio says for a whole mesh.
#[derive(Debug, Args)]
pub(crate) struct Mesh {
    /// What is done to request paths before a rule sees them, as in Istio's MeshConfig: NONE, BASE, MERGE_SLASHES or DECODE_AND_MERGE_SLASHES
    #[arg(long, value_name = "NAME", default_value_t)]
    pub(crate) path_normalization: PathNormalization,
    /// Send each request on under a new span id, as a child of the one it came with (x-b3-*, b3, traceparent)
    #[arg(long)]
    pub(crate) fresh_spans: bool,
    /// What a host meets that no rule and no service knows, as in Istio's MeshConfig: ALLOW_ANY (it is called) or REGISTRY_ONLY (502). Without it: 404
    #[arg(long, value_name = "MODE")]
    pub(crate) outbound_traffic_policy: Option<OutboundMode>,
    /// Compare a header that comes more than once as the routes of this Envoy do: up to 1.38 all values joined with commas, since 1.39 each alone. Without it: each alone
    #[arg(long = "envoy-version", value_name = "VERSION", value_parser = envoy_version::repeated_headers, default_value = "1.39")]
    pub(crate) repeated_headers: RepeatedHeaders,
    /// Labels of the proxy's workload, with which `sourceLabels` and `failoverPriority` are compared
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',', value_parser = names::label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Where the proxy's workload runs; endpoints near it are preferred as `localityLbSetting` and `outlierDetection` say
    #[arg(long, value_name = "REGION/ZONE/SUBZONE", default_value = "", hide_default_value = true)]
    pub(crate) locality: Locality,
}

#[derive(Debug, Args)]
pub(crate) struct SimOptions {
    /// File or directory with a `kind: Scenario`, or `-`; may be repeated, the reports are then compared. Without it: a demonstration
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR|-")]
    pub(crate) files: Vec<PathBuf>,
    /// Use this seed instead of the scenario's
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Play each scenario so many times, with this seed and those after it, and tell how far the outcomes vary
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) runs: Option<u64>,
    /// Play so many of --runs at a time; as many as there are processors unless given
    #[arg(long, value_name = "N", requires = "runs", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,
    /// Tell the life of this request instead, step by step; requests are numbered from 1 as they come
    #[arg(long, value_name = "REQUEST", conflicts_with = "runs", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) trace: Option<u64>,
    /// `text`, `json` or `html`; anything else is a file to write to, by its ending
    #[arg(short, long, default_value = "text", value_name = "text|json|html|FILE")]
    pub(crate) output: String,
}

#[derive(Debug, Args)]
pub(crate) struct RampOptions {
    /// File or directory with Istio objects, and the scenario if there is one; may be repeated
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE|DIR")]
    pub(crate) manifests: Vec<PathBuf>,
    /// Read directories with everything below them
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Namespace of the proxy; decides which short names reach a service
    #[arg(short, long, default_value = "default", value_parser = names::namespace)]
    pub(crate) namespace: String,
    /// The scenario with the load and the services, where -f does not name exactly one; its `manifests` and `expect` mean nothing here
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,
    /// The rule that changes: its name, or the name of a VirtualService, with `.http[N]` behind it where that has several
    #[arg(long, value_name = "NAME")]
    pub(crate) route: String,
    /// The subset that grows; of two destinations the one with the lesser weight unless given
    #[arg(long, value_name = "SUBSET")]
    pub(crate) to: Option<String>,
    /// Shares of the new version in percent, ascending
    #[arg(long, value_name = "PERCENT,…", value_delimiter = ',', default_value = "1,20,50,100", value_parser = names::percent)]
    pub(crate) steps: Vec<Percent>,
    /// Gate: at least so many requests are answered below 500
    #[arg(long, value_name = "PERCENT", default_value = "99%", value_parser = names::percent)]
    pub(crate) min_success: Percent,
    /// Gate: at most so many percentage points fewer than in the step before
    #[arg(long, value_name = "POINTS", default_value = "1", value_parser = names::percent)]
    pub(crate) max_drop: Percent,
    /// Gate: this percentile of the response times is at most so long, as in p99=300ms; may be repeated
    #[arg(long, value_name = "PERCENTILE=TIME", value_parser = names::latency)]
    pub(crate) max_latency: Vec<(Percentile, Span)>,
    /// Gate: p99 is at most so many percent longer than in the step before
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub(crate) max_rise: u64,
    /// Use this seed instead of the scenario's
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Write the VirtualServices of each step that has passed into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) into: Option<PathBuf>,
    /// `text` or `json`; anything else is a file to write to, by its ending
    #[arg(short, long, default_value = "text", value_name = "text|json|FILE")]
    pub(crate) output: String,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaOptions {
    /// Which kind
    #[arg(value_enum)]
    pub(crate) kind: SchemaKind,
    /// `json`; anything else is a file to write to
    #[arg(short, long, default_value = "json", value_name = "json|FILE")]
    pub(crate) output: String,
}

/// A kind that has a schema.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SchemaKind {
    /// `kind: Scenario`, for `shunt sim`
    Scenario,
    /// `kind: ShuntPolicy`, beside the rules
    ShuntPolicy,
}

/// The inbound side of a proxy.
#[derive(Debug, Args)]
pub(crate) struct InboundOptions {
    /// Where requests for an application beside the proxy come in: of these is kept what a ShuntPolicy's `propagate` says
    #[arg(long, value_name = "ADDR:PORT", requires = "app")]
    pub(crate) inbound: Option<SocketAddr>,
    /// Where that application takes requests; its own requests leave by --listen
    #[arg(long, value_name = "ADDR:PORT", requires = "inbound")]
    pub(crate) app: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct ProxyOptions {
    #[command(flatten)]
    pub(crate) manifests: Manifests,
    /// Where requests come in
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) inbound: InboundOptions,
    /// Where statistics and the running configuration can be read
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) admin: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) mesh: Mesh,
    /// Worker threads; as many as there are processors unless given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) workers: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainOptions {
    #[command(flatten)]
    pub(crate) manifests: Manifests,
    /// `METHOD URL`, `URL`, or behind `--` a whole curl command
    #[arg(value_name = "METHOD URL", conflicts_with = "requests")]
    pub(crate) request: Vec<String>,
    /// Header of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", conflicts_with = "requests")]
    pub(crate) headers: Vec<String>,
    /// Requests, one a line as JSON, as a curl command or as an access log has them, or a HAR file; `-` for standard input
    #[arg(long, value_name = "FILE|-")]
    pub(crate) requests: Option<PathBuf>,
    /// Host of the lines in --requests that name none
    #[arg(long, value_name = "HOST", requires = "requests")]
    pub(crate) host: Option<String>,
    /// Tell at most so many of the match blocks tried before; 100 for one request and none for many unless given
    #[arg(long, value_name = "N")]
    pub(crate) tried: Option<u32>,
    #[command(flatten)]
    pub(crate) mesh: Mesh,
    /// `text` or `json`, one object a line; anything else is a file to write to, by its ending
    #[arg(short, long, value_name = "text|json|FILE")]
    pub(crate) output: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DiffOptions {
    /// File or directory with Istio objects as they were, or `-` for standard input
    pub(crate) old: PathBuf,
    /// The same as they are now
    pub(crate) new: PathBuf,
    /// Read directories with everything below them
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Namespace of the proxy; decides which short names reach a service
    #[arg(short, long, default_value = "default", value_parser = names::namespace)]
    pub(crate) namespace: String,
    /// Compare these recorded requests too, one a line as for `explain`, or a HAR file; `-` for standard input
    #[arg(long, value_name = "FILE|-")]
    pub(crate) requests: Option<PathBuf>,
    /// Host of the lines in --requests that name none
    #[arg(long, value_name = "HOST", requires = "requests")]
    pub(crate) host: Option<String>,
    /// How paths of --requests are normalised before the rules see them, as in Istio's mesh configuration
    #[arg(long, value_name = "BASE|NONE|MERGE_SLASHES|DECODE_AND_MERGE_SLASHES", default_value_t)]
    pub(crate) path_normalization: PathNormalization,
    /// Compare at most so many requests for each host: a sample where all combinations are more
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) samples: u32,
    /// Seed of the sample
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// End with exit code 1 when a request meets anything else
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// `text` or `json`; anything else is a file to write to, by its ending
    #[arg(short, long, default_value = "text", value_name = "text|json|FILE")]
    pub(crate) output: String,
}

#[derive(Debug, Args)]
pub(crate) struct CheckOptions {
    #[command(flatten)]
    pub(crate) manifests: Manifests,
    /// Fail (exit code 1) from this severity on; --strict is the same as `warning`
    #[arg(long, value_enum, ignore_case = true, default_value = "error")]
    pub(crate) failure_threshold: Threshold,
    /// Show findings from this severity on
    #[arg(long, value_enum, ignore_case = true, default_value = "warning")]
    pub(crate) output_threshold: Threshold,
    /// Leave out a code for some objects, as in 'IST0130=VirtualService reviews.default'; `*` stands for any text; may be repeated
    #[arg(short = 'S', long = "suppress", value_name = "CODE=KIND NAME.NAMESPACE")]
    pub(crate) suppress: Vec<String>,
    /// Hosts that call each other, first to last: work out how retries multiply; may be repeated
    #[arg(long, value_name = "HOST,HOST,…")]
    pub(crate) chain: Vec<String>,
    /// `text`, `json` or `sarif`; anything else is a file to write to, by its ending
    #[arg(short, long, default_value = "text", value_name = "text|json|sarif|FILE")]
    pub(crate) output: String,
}

/// A severity on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Threshold {
    #[value(alias = "info")]
    Note,
    Warning,
    Error,
}

#[derive(Debug, Args)]
pub(crate) struct RenderOptions {
    #[command(subcommand)]
    pub(crate) target: RenderTarget,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RenderTarget {
    /// A bootstrap that `envoy -c FILE` serves at once, filter included
    Envoy(RenderEnvoyOptions),
    /// An EnvoyFilter that brings filter and rules into a mesh, beside Istio's own routes
    #[command(name = "envoyfilter")]
    EnvoyFilter(RenderMeshOptions),
    /// The same by WasmPlugins, one a port, and an EnvoyFilter for the routes: a WasmPlugin alone cannot route
    #[command(name = "wasmplugin")]
    WasmPlugin(RenderMeshOptions),
    /// The same by TrafficExtensions (Istio 1.31 has them), one a port, and an EnvoyFilter for the routes
    #[command(name = "trafficextension")]
    TrafficExtension(RenderMeshOptions),
    /// For Envoy Gateway: an EnvoyExtensionPolicy with the filter, and the HTTPRoutes that it needs to route by
    #[command(name = "envoyextensionpolicy")]
    EnvoyExtensionPolicy(RenderEnvoyGatewayOptions),
    /// The compiled filter as a file, for --wasm-file and --wasm-url; prints its SHA-256
    Wasm(RenderWasmOptions),
}

#[derive(Debug, Args)]
pub(crate) struct RenderWasmOptions {
    /// File to write to
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RenderEnvoyGatewayOptions {
    #[command(flatten)]
    pub(crate) manifests: Manifests,
    /// Gateway of the Gateway API that the routes hang on, as Gateway/NAME; may be repeated
    #[arg(long = "target-ref", value_name = "KIND/NAME", required = true, value_parser = names::gateway)]
    pub(crate) target_refs: Vec<(String, String)>,
    /// Name of the manifests, or how it begins
    #[arg(long, value_name = "NAME", default_value = "shunt", value_parser = names::object)]
    pub(crate) name: String,
    /// Where Envoy Gateway fetches the compiled filter: oci://, http:// or https://
    #[arg(long, value_name = "URL")]
    pub(crate) wasm_url: String,
    #[command(flatten)]
    pub(crate) mesh: Mesh,
    /// `yaml` or `json` for standard output; anything else is a file to write to, by its ending
    #[arg(short, long, default_value = "yaml", value_name = "yaml|json|FILE")]
    pub(crate) output: String,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("code").args(["wasm_file", "wasm_url"]).required(true))]
pub(crate) struct RenderMeshOptions {
    #[command(flatten)]
    pub(crate) manifests: Manifests,
    /// For this gateway instead of sidecars: the rules bound to it
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(crate) gateway: Option<String>,
    /// Only on this port of the services or of the Gateway, and behind `:` the one that the proxy listens on, if another; may be repeated. From the files unless given
    #[arg(long = "port", value_name = "PORT[:LISTENER]")]
    pub(crate) ports: Vec<PortMapping>,
    /// Only for workloads with these labels; the Gateway's own selector unless given
    #[arg(short = 'l', long, value_name = "KEY=VALUE,…", value_delimiter = ',', value_parser = names::label)]
    pub(crate) selector: Vec<(String, String)>,
    /// Only for this object's proxies instead, such as Gateway/http of the Gateway API; may be repeated
    #[arg(long = "target-ref", value_name = "KIND/NAME", conflicts_with = "selector", value_parser = names::target)]
    pub(crate) target_refs: Vec<(String, String)>,
    /// Among several: the one with the highest number meets a request first
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) priority: i32,
    /// Name of the manifest, or how it begins
    #[arg(long, value_name = "NAME", default_value = "shunt", value_parser = names::object)]
    pub(crate) name: String,
    /// Where the proxies find the compiled filter, in their own file system
    #[arg(long, value_name = "FILE")]
    pub(crate) wasm_file: Option<String>,
    /// Where Istio's agent fetches the compiled filter: oci://, best with @sha256:…, or http:// or https://, whose SHA-256 is pinned
    #[arg(long, value_name = "URL")]
    pub(crate) wasm_url: Option<String>,
    /// Send each request on under a new span id, as a child of the one it came with (x-b3-*, b3, traceparent)
    #[arg(long)]
    pub(crate) fresh_spans: bool,
    /// Compare a header that comes more than once as the routes of this Envoy do: up to 1.38 all values joined with commas, since 1.39 each alone
    #[arg(long = "envoy-version", value_name = "VERSION", value_parser = envoy_version::repeated_headers, default_value = "1.39")]
    pub(crate) repeated_headers: RepeatedHeaders,
    /// `yaml` or `json` for standard output; anything else is a file to write to, by its ending
    #[arg(short, long, default_value = "yaml", value_name = "yaml|json|FILE")]
    pub(crate) output: String,
}

/// A port of services, and what a proxy listens on for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortMapping {
    pub(crate) port: u16,
    pub(crate) listener: Option<u16>,
}

impl FromStr for PortMapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| match text.parse::<u16>() {
            Ok(port @ 1..) => Ok(port),
            _ => Err(format!("`{text}` is no port from 1 to 65535")),
        };
        let (port, listener) = text.split_once(':').map_or((text, None), |(port, listener)| (port, Some(listener)));
        Ok(Self { port: number(port)?, listener: listener.map(number).transpose()? })
    }
}

#[derive(Debug, Args)]
pub(crate) struct RenderEnvoyOptions {
    #[command(flatten)]
    pub(crate) manifests: Manifests,
    /// Where Envoy takes requests
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) inbound: InboundOptions,
    /// Where Envoy's administration page is
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) admin: SocketAddr,
    #[command(flatten)]
    pub(crate) mesh: Mesh,
    /// Write a bootstrap and the files that it watches into this directory instead: rendered again, they change the rules of a running Envoy
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    pub(crate) dynamic: Option<PathBuf>,
    /// Write the rules as Envoy's own routes, without the filter
    #[arg(long, conflicts_with_all = ["dynamic", "fresh_spans", "inbound"])]
    pub(crate) native: bool,
    /// `yaml` or `json` for standard output; anything else is a file to write to, by its ending
    #[arg(short, long, default_value = "yaml", value_name = "yaml|json|FILE")]
    pub(crate) output: String,
}
