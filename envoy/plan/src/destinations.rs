//! Destinations of rules and mirrors: their cluster's name, and whether there is such a cluster.
//!
//! A destination that leads nowhere is a warning, not an error: Istio serves the rule, and its requests get 503.

use crate::destination_rules::DestinationRules;
use crate::syntax;
use istio_config::diagnostic::At;
use istio_config::filter_config::Listener;
use istio_config::services::{PortChoice, Services};
use istio_config::virtual_service::{Destination, PortSelector};
use istio_config::{Config, Diagnostics, Resource, VirtualService, listeners, names};

/// All that destinations are looked up in.
pub(crate) struct Destinations<'a> {
    config: &'a Config,
    registry: &'a Services,
    rules: &'a DestinationRules<'a>,
    /// The listener of Istio's, if it is one: there may be services then that the files do not tell of.
    listener: Option<&'a Listener>,
}

/// One VirtualService on the way to its destinations.
pub(crate) struct Client<'a> {
    destinations: &'a Destinations<'a>,
    namespace: &'a str,
    listener_port: u16,
}

impl<'a> Destinations<'a> {
    pub(crate) fn new(
        config: &'a Config,
        registry: &'a Services,
        rules: &'a DestinationRules<'a>,
        listener: Option<&'a Listener>,
    ) -> Self {
        Self { config, registry, rules, listener }
    }

    /// The look-up for the destinations of one VirtualService.
    pub(crate) fn client(&'a self, virtual_service: &'a Resource<VirtualService>) -> Client<'a> {
        let listener_port = match self.listener {
            Some(listener) => listener.port,
            None => listeners::main_port(virtual_service, self.config, self.registry),
        };
        Client { destinations: self, namespace: virtual_service.meta.namespace(), listener_port }
    }
}

impl Client<'_> {
    /// The name of the destination's cluster; `None` when the destination cannot be written like that at all.
    pub(crate) fn cluster(
        &self,
        at: &At<'_>,
        destination: &Destination,
        diagnostics: &mut Diagnostics,
    ) -> Option<String> {
        if !is_sound(at, destination, diagnostics) {
            return None;
        }
        let Destination { host: written, subset, port: _ } = destination;
        let Destinations { config: _, registry, rules, listener } = self.destinations;
        let host = names::full_host(written, self.namespace);
        let choice = registry.port_for(destination, &host, self.listener_port);
        let port = choice.number();
        // Of a listener that is known, the number is left out: several make one finding.
        let taken = listener
            .map_or_else(|| format!("the caller's, {port}, is taken"), |_| "the listener's is taken".to_owned());
        match (registry.ports(&host), choice) {
            (None, PortChoice::Certain(_)) if listener.is_some() => {}
            (None, PortChoice::Listener(_)) if listener.is_some() => diagnostics.warning(
                at,
                "unknown-port",
                format!("no file tells the port of `{host}`: {taken}"),
                "name the port, `port: {number: N}`, or add the Service to the files",
            ),
            (None, choice) => diagnostics.warning(
                &at.field("host"),
                "IST0101",
                format!("there is no service `{host}`: requests get 503"),
                match choice {
                    PortChoice::Certain(_) => NO_SERVICE.to_owned(),
                    PortChoice::Listener(port) => format!(
                        "{NO_SERVICE}. If the cluster has the service, name its port too, `port: {{number: N}}`: nothing here tells it, and {port}, the caller's, is taken"
                    ),
                },
            ),
            (Some(ports), PortChoice::Listener(_)) => diagnostics.warning(
                at,
                "IST0112",
                format!("`{host}` has {}, and the destination names none: {taken}", list(ports)),
                "name the port: `port: {number: N}`",
            ),
            (Some(ports), PortChoice::Certain(_)) if !ports.contains(&port) => diagnostics.warning(
                &at.field("port").field("number"),
                "IST0101",
                format!("`{host}` has {}, not port {port}: requests get 503", list(ports)),
                "use a port of the service",
            ),
            _ => {}
        }
        if !subset.is_empty() && registry.ports(&host).is_some() && !rules.has_subset(&host, subset) {
            diagnostics.warning(
                &at.field("subset"),
                "IST0101",
                format!("no DestinationRule gives `{host}` a subset `{subset}`: requests get 503"),
                "define it under `spec.subsets` of the host's DestinationRule",
            );
        }
        Some(names::cluster_name(port, subset, &host))
    }
}

const NO_SERVICE: &str =
    "add a ServiceEntry with this host, or correct the name; names without a dot get the rule's namespace";

fn list(ports: &[u16]) -> String {
    match ports {
        [] => "no port".to_owned(),
        [only] => format!("port {only}"),
        ports => format!("ports {}", ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// What `istioctl validate` asks of a destination.
fn is_sound(at: &At<'_>, destination: &Destination, diagnostics: &mut Diagnostics) -> bool {
    let Destination { host, subset, port } = destination;
    let mut sound = true;
    if host == "*" || !syntax::is_host(host) {
        sound = false;
        let message = if host.is_empty() { "no host".to_owned() } else { format!("`{host}` is no host name") };
        diagnostics.error(&at.field("host"), "bad-host", message, "write the name of a service");
    }
    if !subset.is_empty() && !syntax::is_label(subset) {
        sound = false;
        let message = format!("`{subset}` cannot be the name of a subset");
        diagnostics.error(&at.field("subset"), "bad-subset-name", message, "use letters, digits and `-`, at most 63");
    }
    if let Some(PortSelector { number }) = port
        && syntax::port(*number).is_none()
    {
        sound = false;
        let message = format!("{number} is no port");
        diagnostics.error(&at.field("port").field("number"), "bad-port", message, "use 1 to 65535");
    }
    sound
}

#[cfg(test)]
mod tests {
    use crate::Plan;
    use crate::testing::{SERVICES, build, check_findings};
    use istio_config::{Config, Diagnostics, yaml};

    /// A rule with this destination, beside the services of [`SERVICES`] and subset `v1` of `a`.
    fn config(destination: &str) -> String {
        format!(
            "{SERVICES}---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: a}}\nspec: {{host: a, subsets: [{{name: v1, labels: {{version: v1}}}}]}}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v}}\nspec: {{hosts: [a], http: [{{route: [{{destination: {destination}}}]}}]}}\n"
        )
    }

    fn check(destination: &str, expected: &[&str]) {
        let expected: Vec<String> = expected
            .iter()
            .map(|finding| format!("VirtualService spec.http[0].route[0].destination{finding}"))
            .collect();
        check_findings(&config(destination), &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn what_exists_is_no_finding() {
        check("{host: a}", &[]);
        check("{host: a, subset: v1}", &[]);
        check("{host: A.default.svc.cluster.local, port: {number: 80}}", &[]);
        check("{host: two.example.com, port: {number: 9090}}", &[]);
    }

    #[test]
    fn what_does_not_exist_is_a_warning() {
        check("{host: nowhere, subset: v9}", &[".host: warning[IST0101]"]);
        // A dot keeps the name from being completed.
        check("{host: a.default}", &[".host: warning[IST0101]"]);
        check("{host: a, port: {number: 81}}", &[".port.number: warning[IST0101]"]);
        check("{host: a, subset: v9}", &[".subset: warning[IST0101]"]);
        check("{host: two.example.com}", &[": warning[IST0112]"]);
    }

    #[test]
    fn who_leaves_the_port_to_a_service_that_nothing_tells_of_is_asked_for_it() {
        let asked = |destination: &str| {
            let (mut objects, mut sources, mut found) =
                (Config::default(), yaml::Sources::default(), Diagnostics::default());
            yaml::read("test.yaml", &config(destination), &mut objects, &mut sources, &mut found);
            let _ = Plan::build(&objects, &mut found);
            found
                .iter()
                .any(|found| found.help.contains("port: {number: N}") && found.help.contains("80, the caller's"))
        };
        assert!(asked("{host: nowhere}"));
        assert!(!asked("{host: nowhere, port: {number: 80}}"));
        assert!(!asked("{host: a}"));
    }

    #[test]
    fn what_istioctl_refuses_is_an_error() {
        check("{host: '*'}", &[".host: error[bad-host]"]);
        check("{subset: v1}", &[".host: error[bad-host]"]);
        check("{host: a_b..c}", &[".host: error[bad-host]"]);
        check("{host: a, subset: v_1}", &[".subset: error[bad-subset-name]"]);
        check("{host: a, port: {number: 0}}", &[".port.number: error[bad-port]"]);
        check("{host: a, port: {number: 65536}}", &[".port.number: error[bad-port]"]);
    }

    /// The mirror's cluster tells the listener port, since `unknown.com` has no port of its own.
    fn mirror_of(spec: &str) -> String {
        let servers = "[{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*']}, {port: {number: 81, name: b, protocol: HTTP}, hosts: [b.com]}, {port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*.else.com', '*.org']}]";
        let text = format!(
            "{SERVICES}---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: g}}\nspec: {{servers: {servers}}}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v}}\nspec: {{{spec}, http: [{{route: [{{destination: {{host: a}}}}], mirror: {{host: unknown.com}}}}]}}\n"
        );
        let (plan, _, _) = build(&text);
        plan.profiles[1].mirrors[0].clone()
    }

    #[test]
    fn a_destination_without_a_port_gets_the_callers() {
        assert_eq!(mirror_of("hosts: [a]"), "outbound|80||unknown.com");
        assert_eq!(mirror_of("hosts: [two.example.com]"), "outbound|8080||unknown.com");
        assert_eq!(mirror_of("hosts: ['*.else.com']"), "outbound|80||unknown.com");
        // Neither TLS nor a server of other hosts leads to the rules.
        assert_eq!(mirror_of("hosts: ['*.else.com'], gateways: [g]"), "outbound|8080||unknown.com");
        assert_eq!(mirror_of("hosts: [a.org], gateways: [default/g]"), "outbound|8080||unknown.com");
        assert_eq!(mirror_of("hosts: ['*'], gateways: [g]"), "outbound|81||unknown.com");
        assert_eq!(mirror_of("hosts: [a], gateways: [g, mesh]"), "outbound|80||unknown.com");
    }
}
