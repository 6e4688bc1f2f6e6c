//! When, how often and where an attempt is repeated.

use super::story::{check, reply_of};

#[test]
fn without_a_policy_the_first_answer_stands() {
    check("", "503", "try b; deliver");
    check("", "refused", "try b; reply 503 UF");
}

#[test]
fn total_tries_are_one_and_the_retries_with_growing_waits() {
    check("retries 2 on 5xx", "503; 503; 200", "try b; wait 12ms; try c; wait 25ms; try a; deliver");
    check("retries 2 on 5xx", "503; 503; 503", "try b; wait 12ms; try c; wait 25ms; try a; deliver URX");
}

#[test]
fn waits_end_growing_at_ten_times_the_base() {
    let waits = "try a; wait 12ms; try a; wait 25ms; try a; wait 50ms; try a; wait 100ms; try a; wait 125ms; try a; \
                 wait 125ms; try a; deliver";
    check("endpoints a; retries 9 on 5xx", "500; 500; 500; 500; 500; 500; 200", waits);
}

#[test]
fn a_base_of_its_own_scales_the_waits() {
    check("retries 2 on 5xx; backoff 1s", "500; 500; 200", "try b; wait 500ms; try c; wait 1000ms; try a; deliver");
}

#[test]
fn no_retries_left_at_once_is_still_an_exhausted_policy() {
    check("retries 0 on 5xx", "503", "try b; deliver URX");
}

#[test]
fn five_xx_covers_every_failure() {
    for failure in ["500", "599", "refused", "closed", "reset", "refused stream", "garbage", "closed unsent"] {
        check("retries 1 on 5xx", &format!("{failure}; 200"), "try b; wait 12ms; try c; deliver");
    }
    check("retries 1 on 5xx", "499", "try b; deliver");
}

#[test]
fn gateway_error_is_502_503_504_and_every_failure() {
    for failure in ["502", "503", "504", "refused", "closed", "reset"] {
        check("retries 1 on gateway-error", &format!("{failure}; 200"), "try b; wait 12ms; try c; deliver");
    }
    for answer in ["500", "501", "505", "404"] {
        check("retries 1 on gateway-error", answer, "try b; deliver");
    }
}

#[test]
fn reset_covers_failures_and_no_answer() {
    for failure in ["refused", "closed", "reset", "refused stream"] {
        check("retries 1 on reset", &format!("{failure}; 200"), "try b; wait 12ms; try c; deliver");
    }
    check("retries 1 on reset", "503", "try b; deliver");
}

#[test]
fn reset_before_request_wants_nothing_sent() {
    for failure in ["closed unsent", "reset unsent", "refused"] {
        check("retries 1 on reset-before-request", &format!("{failure}; 200"), "try b; wait 12ms; try c; deliver");
    }
    check("retries 1 on reset-before-request", "closed", "try b; reply 503 UC");
    check("retries 1 on reset-before-request", "refused stream", "try b; reply 503 UR");
}

#[test]
fn connect_failure_covers_refusal_and_connect_timeout_only() {
    check("retries 1 on connect-failure", "refused; 200", "try b; wait 12ms; try c; deliver");
    check("connecting; retries 1 on connect-failure", "silence; connected; 200", "try b; wait 12ms; try c; deliver");
    check("retries 1 on connect-failure", "closed", "try b; reply 503 UC");
    check("retries 1 on connect-failure", "503", "try b; deliver");
}

#[test]
fn refused_stream_covers_itself_only() {
    check("retries 1 on refused-stream", "refused stream; 200", "try b; wait 12ms; try c; deliver");
    check("retries 1 on refused-stream", "reset", "try b; reply 503 UR");
}

#[test]
fn retriable_4xx_is_409_only() {
    check("retries 1 on retriable-4xx", "409; 200", "try b; wait 12ms; try c; deliver");
    check("retries 1 on retriable-4xx", "429", "try b; deliver");
}

#[test]
fn a_list_of_codes_covers_no_failure() {
    check("retries 1 on 503", "503; 200", "try b; wait 12ms; try c; deliver");
    check("retries 1 on 503", "500", "try b; deliver");
    check("retries 1 on 503", "refused", "try b; reply 503 UF");
    check("retries 1 on 503; per-try 40ms", "silence", "try b; reply 504 UT");
}

#[test]
fn istios_default_conditions_do_not_retry_a_503_of_the_application() {
    let istio = "retries 2 on connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
    check(istio, "503", "try b; deliver");
    check(istio, "closed", "try b; reply 503 UC");
    check(istio, "refused; refused stream; 200", "try b; wait 12ms; try c; wait 25ms; try a; deliver");
}

#[test]
fn grpc_conditions_read_the_status_of_a_trailers_only_answer() {
    check("retries 1 on unavailable", "200 grpc-status=14; 200", "try b; wait 12ms; try c; deliver");
    check("retries 1 on unavailable,cancelled", "200 grpc-status=1; 200", "try b; wait 12ms; try c; deliver");
    check("retries 1 on unavailable", "200 grpc-status=13", "try b; deliver");
    check("retries 1 on unavailable", "200 grpc-status=odd", "try b; deliver");
    check("retries 1 on unavailable", "503", "try b; deliver");
    for (name, status) in [("cancelled", 1), ("deadline-exceeded", 4), ("resource-exhausted", 8), ("internal", 13)] {
        let answer = format!("200 grpc-status={status}; 200");
        check(&format!("retries 1 on {name}"), &answer, "try b; wait 12ms; try c; deliver");
    }
}

#[test]
fn a_rate_limited_answer_is_retried_under_its_own_condition_only() {
    check("retries 1 on 5xx", "503 x-envoy-ratelimited=true", "try b; deliver");
    let setup = "retries 1 on envoy-ratelimited";
    check(setup, "429 x-envoy-ratelimited=true; 200", "try b; wait 12ms; try c; deliver");
}

#[test]
fn retriable_headers_come_from_the_request() {
    let setup = "retries 1 on retriable-headers; x-envoy-retriable-header-names: X-Again, x-other";
    check(setup, "200 x-again=; 200", "try b; wait 12ms; try c; deliver");
    check("retries 1 on retriable-headers", "200 x-again=", "try b; deliver");
}

#[test]
fn conditions_of_a_request_are_added_to_the_profiles() {
    let setup = "retries 1 on connect-failure; x-envoy-retry-on: retriable-4xx";
    check(setup, "409; 200", "try b; wait 12ms; try c; deliver");
    check(setup, "refused; 200", "try b; wait 12ms; try c; deliver");
    let setup = "retries 1 on 503; x-envoy-retriable-status-codes: 418, 429";
    check(setup, "418; 200", "try b; wait 12ms; try c; deliver");
    check(setup, "503; 200", "try b; wait 12ms; try c; deliver");
}

#[test]
fn conditions_of_a_request_alone_give_one_retry() {
    check("x-envoy-retry-on: 5xx", "503; 503", "try b; wait 12ms; try c; deliver URX");
    check("x-envoy-retry-grpc-on: unavailable", "200 grpc-status=14; 200", "try b; wait 12ms; try c; deliver");
}

#[test]
fn http_and_grpc_conditions_have_a_header_each() {
    check("x-envoy-retry-on: unavailable", "200 grpc-status=14", "try b; deliver");
    check("x-envoy-retry-grpc-on: 5xx", "503", "try b; deliver");
}

#[test]
fn a_policy_without_conditions_lends_its_number_to_those_of_the_request() {
    check("retries 2 on; x-envoy-retry-on: 5xx", "503; 503; 200", "try b; wait 12ms; try c; wait 25ms; try a; deliver");
    check("retries 2 on", "503", "try b; deliver");
}

#[test]
fn max_retries_of_a_request_overrides_up_and_down() {
    check("retries 2 on 5xx; x-envoy-max-retries: 0", "503", "try b; deliver URX");
    check("retries 0 on 5xx; x-envoy-max-retries: 1", "503; 200", "try b; wait 12ms; try c; deliver");
    check("retries 1 on 5xx; x-envoy-max-retries: many", "503; 200", "try b; wait 12ms; try c; deliver");
    check("x-envoy-max-retries: 3", "503", "try b; deliver");
}

#[test]
fn tried_endpoints_are_avoided_as_long_as_draws_last() {
    // Round robin comes back to `a` at once where there is no other; it is taken after the draws are spent.
    check("endpoints a; retries 1 on 5xx", "503; 200", "try a; wait 12ms; try a; deliver");
    check("endpoints a b; retries 2 on 5xx", "503; 503; 200", "try b; wait 12ms; try a; wait 25ms; try a; deliver");
    check(
        "endpoints a b; retries 2 on 5xx; no avoidance",
        "503; 503; 200",
        "try b; wait 12ms; try a; wait 25ms; try b; deliver",
    );
}

#[test]
fn after_delivery_nothing_is_retried() {
    check("retries 2 on 5xx", "200; closed", "try b; deliver; abort UC");
    check("retries 2 on 5xx", "200; 503; silence", "try b; deliver; wait for ever");
}

#[test]
fn a_request_that_outgrew_its_buffer_is_not_retried() {
    check("streaming; retries 2 on 5xx", "unrepeatable; 503", "try b; deliver");
    check("streaming; retries 2 on 5xx", "unrepeatable; refused", "try b; reply 503 UF");
}

#[test]
fn final_failures_have_envoys_words() {
    let first = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure";
    let reply = reply_of("", "refused");
    assert_eq!((reply.status, reply.body), (503, first));
    assert_eq!(reply.details, "upstream_reset_before_response_started{remote_connection_failure}");

    let last = "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: \
                connection termination";
    let reply = reply_of("retries 1 on reset", "closed; closed");
    assert_eq!((reply.status, reply.body, reply.flags.to_string().as_str()), (503, last, "URX,UC"));
}

#[test]
fn what_is_not_http_is_a_bad_gateway() {
    check("", "garbage", "try b; reply 502 UPE");
}
