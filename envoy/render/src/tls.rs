//! TLS towards endpoints, as istiod writes it (`constructUpstreamTLS`), but for one thing: there an agent reads the files and
//! hands them to Envoy, here Envoy reads them.

use crate::proto;
use envoy_plan::{ClientCertificate, Roots, UpstreamProtocol, UpstreamTls};
use serde_json::{Value, json};

/// Envoy's transport socket.
pub(crate) fn transport_socket(tls: &UpstreamTls, protocol: UpstreamProtocol) -> Value {
    let UpstreamTls { client, roots, revoked, names, server_name, is_for_host: _ } = tls;
    let file = |name: &str| json!({ "filename": name });
    let certificate = |client: &ClientCertificate| json!([{ "certificate_chain": file(&client.chain), "private_key": file(&client.key) }]);
    let exact = |name: &String| json!({ "exact": name });
    let validation = roots.as_ref().map(|roots| {
        let trusted = match roots {
            Roots::System => ("system_root_certs", Some(json!({}))),
            Roots::File(name) => ("trusted_ca", Some(file(name))),
        };
        let names = (!names.is_empty()).then(|| names.iter().map(exact).collect::<Value>());
        let revoked = revoked.as_ref().map(|name| file(name));
        proto::with(json!({}), [trusted, ("match_subject_alt_names", names), ("crl", revoked)])
    });
    let common = proto::with(
        json!({ "tls_params": { "tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3" } }),
        [
            ("tls_certificates", client.as_ref().map(certificate)),
            // An empty one verifies nothing.
            ("validation_context", Some(validation.unwrap_or_else(|| json!({})))),
            ("alpn_protocols", (protocol == UpstreamProtocol::Http2).then(|| json!(["h2"]))),
        ],
    );
    let context =
        proto::with(json!({ "common_tls_context": common }), [("sni", server_name.as_ref().map(|name| json!(name)))]);
    proto::extension(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        context,
    )
}

/// What goes by the request's own host; `None` where nothing does.
pub(crate) fn http_options(tls: &UpstreamTls) -> Option<Value> {
    let is = |holds: bool| holds.then_some(Value::Bool(true));
    let options = proto::with(
        json!({}),
        [("auto_sni", is(tls.server_name.is_none())), ("auto_san_validation", is(tls.is_for_host))],
    );
    (options != json!({})).then_some(options)
}
