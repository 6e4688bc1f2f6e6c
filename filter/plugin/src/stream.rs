//! The stream context: one request, its decision, its response.

use crate::hostcalls::{self, HeaderMap};
use crate::{pairs, random};
use istio_config::filter_config::{CLUSTER_HEADER, PROFILE_HEADER};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use std::rc::Rc;
use traffic_policy::{Decision, Edit, Forward, Policy, RequestHead, ResponseRule};

/// Envoy's router writes this when its route changes the path; so does whoever changes it in Envoy's place.
const ORIGINAL_PATH_HEADER: &[u8] = b"x-envoy-original-path";

pub(crate) struct Stream {
    policy: Rc<Policy>,
    /// What the response phase needs to know of the request.
    response: Option<ResponseRule>,
}

impl Stream {
    pub(crate) fn new(policy: Rc<Policy>) -> Self {
        Self { policy, response: None }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let encoded = hostcalls::header_pairs(HeaderMap::Request);
        let pairs = pairs::read(&encoded);
        let request = RequestHead::new(&pairs);
        match self.policy.decide(&request, &mut random::draw) {
            Decision::Forward(forward) => {
                self.response = forward.response;
                write(&request, &forward);
                Action::Continue
            }
            Decision::Reply(reply) => {
                hostcalls::send_local_response(reply.status, reply.details, reply.body);
                Action::Pause
            }
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if let Some(rule) = self.response {
            apply(HeaderMap::Response, self.policy.response_edits(rule));
        }
        Action::Continue
    }
}

/// All writes together, before anything asks for the route; the cluster last, so that no edit can touch it.
fn write(request: &RequestHead<'_>, forward: &Forward<'_>) {
    for name in request.internal_names() {
        hostcalls::remove_header(HeaderMap::Request, name);
    }
    apply(HeaderMap::Request, forward.edits);
    if let Some(authority) = forward.authority {
        hostcalls::set_header(HeaderMap::Request, (b":authority", authority.as_bytes()));
    }
    if let Some(target) = &forward.path {
        let original = request.values(b":path").next().unwrap_or_default();
        hostcalls::set_header(HeaderMap::Request, (ORIGINAL_PATH_HEADER, original));
        hostcalls::set_header(HeaderMap::Request, (b":path", target));
    }
    if let Some(profile) = forward.profile {
        hostcalls::set_header(HeaderMap::Request, (PROFILE_HEADER.as_bytes(), profile.as_bytes()));
    }
    hostcalls::set_header(HeaderMap::Request, (CLUSTER_HEADER.as_bytes(), forward.cluster.as_bytes()));
}

fn apply(map: HeaderMap, edits: &[Edit]) {
    for edit in edits {
        match edit {
            Edit::Set(name, value) => hostcalls::set_header(map, (name.as_bytes(), value.as_bytes())),
            Edit::Add(name, value) => hostcalls::add_header(map, (name.as_bytes(), value.as_bytes())),
            Edit::Remove(name) => hostcalls::remove_header(map, name.as_bytes()),
        }
    }
}
