//! Another cluster is asked where the first fails.

use super::story::check;

#[test]
fn what_fails_is_asked_of_the_other_cluster_and_of_it_alone() {
    check("fallback s; retries 1 on 5xx", "503; 200", "try b; wait 12ms; try s; deliver");
    let all = "try b; wait 12ms; try s; wait 25ms; try s; wait 50ms; try s; deliver URX";
    check("fallback s; retries 3 on 5xx", "500; 500; 500; 500", all);
    check(
        "fallback s t; retries 3 on 5xx",
        "500; 500; 500; 200",
        "try b; wait 12ms; try t; wait 25ms; try s; wait 50ms; try s; deliver",
    );
}

#[test]
fn the_last_answer_is_delivered_whatever_it_is() {
    check("fallback s; retries 1 on 5xx", "500; 404", "try b; wait 12ms; try s; deliver");
    check("fallback s; retries 1 on 404", "404; 200", "try b; wait 12ms; try s; deliver");
    check("fallback s; retries 1 on 404", "404; refused", "try b; wait 12ms; try s; reply 503 UF");
}

#[test]
fn what_no_condition_covers_stays() {
    check("fallback s; retries 1 on 404", "500", "try b; deliver");
    check("fallback s; retries 1 on connect-failure", "closed", "try b; reply 503 UC");
}

#[test]
fn who_takes_too_long_is_left_for_the_other() {
    let follows = "try b; wait 12ms; try s; deliver";
    check("fallback s; retries 1 on 5xx; per-try 300ms", "connected; silence; 200", follows);
}

#[test]
fn what_the_first_has_no_room_for_is_not_asked_of_the_other() {
    check("endpoints a; fallback s; limit requests 0; retries 1 on 5xx", "", "reply 503 UO");
}

#[test]
fn a_cluster_without_endpoints_sends_everything_on() {
    check("endpoints; fallback s; retries 1 on 5xx", "200", "try s; deliver");
    check("endpoints; fallback s; retries 1 on 5xx", "500; 200", "try s; wait 12ms; try s; deliver");
}

#[test]
fn limits_of_retries_in_either_cluster_say_nothing_of_both() {
    check("fallback s; limit retries 0; retries 1 on 5xx", "503; 200", "try b; wait 12ms; try s; deliver");
}
