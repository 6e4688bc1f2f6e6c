//! HTTP calls that the filter makes. They travel like any request, and their answers come back by token.

use crate::feed::Upload;
use crate::guest::Guest;
use crate::headers::{response_for_guest, trailers_for_guest};
use crate::journey::{Journey, News};
use crate::request_head::Outgoing;
use crate::worker::Outside;
use crate::world::Call;
use bytes::{Bytes, BytesMut};
use host_abi::{CalloutAnswer, HeaderMap};
use std::future::poll_fn;
use std::rc::Rc;
use upstream::LocalReply;

/// Envoy's limit on the answer to a call.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Makes a call and hands the answer to the filter.
pub(crate) async fn make(guest: Rc<Guest>, outside: Rc<Outside>, call: Call) {
    outside.stats.callouts.enter();
    let Call { token, begun, headers, body } = call;
    let answer = match Outgoing::of_call(&headers) {
        Ok(outgoing) => {
            let upload = Upload::whole(Bytes::from(body));
            let (exchange, step) = (begun.exchange, begun.step);
            travel(Journey::begin(Rc::clone(&outside), exchange, step, Rc::new(outgoing), upload)).await
        }
        Err(_) => CalloutAnswer::failed(),
    };
    outside.stats.callouts.leave();
    guest.with(|vm| vm.callout_answered(token, answer));
}

async fn travel(mut journey: Journey) -> CalloutAnswer {
    let mut head = HeaderMap::new();
    let mut body = BytesMut::new();
    loop {
        match poll_fn(|cx| journey.poll(cx, true)).await {
            News::Answer { head: parts, .. } => head = response_for_guest(&parts),
            News::Data(data) if body.len() + data.len() > ANSWER_BYTES_MAX => return CalloutAnswer::failed(),
            News::Data(data) => body.extend_from_slice(&data),
            News::End { trailers } => {
                let mut answer = CalloutAnswer::new(head, body);
                answer.trailers = trailers.as_ref().map(trailers_for_guest).unwrap_or_default();
                return answer;
            }
            News::Reply(LocalReply { status, body, .. }) => {
                let head = HeaderMap::from([(":status", status.to_string().as_str()), ("content-type", "text/plain")]);
                return CalloutAnswer::new(head, body);
            }
            News::Broken { .. } => return CalloutAnswer::failed(),
        }
    }
}
