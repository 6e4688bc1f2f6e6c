//! The admin pages.

use crate::support::*;
use http_body_util::Full;
use std::time::Duration;
use traffic_proxy::Settings;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_tell_what_was_counted_by_all_workers() {
    let upstream = Upstream::saying("hello").await;
    let settings = Settings { admin: Some("127.0.0.1:0".parse().unwrap()), workers: 2, ..settings() };
    let proxy =
        start_with(settings, plan(vec![profile("p")], vec![cluster("v1", &[upstream.address])]), all_to("v1", "p"));
    let admin = proxy.admin_addr().unwrap();
    assert_eq!(get(admin, "/ready").await.status, 200);
    for _ in 0..10 {
        assert_eq!(get(proxy.local_addr(), "/").await.status, 200);
    }
    let stats = get(admin, "/stats/prometheus").await.body;
    let labels = "reporter=\"source\",destination_service=\"reviews.test\",destination_version=\"v1\",response_code=\"200\",response_flags=\"-\"";
    for line in [
        format!("istio_requests_total{{{labels}}} 10\n"),
        format!("istio_request_duration_milliseconds_bucket{{{labels},le=\"+Inf\"}} 10\n"),
        "shunt_downstream_connections_total 10\n".to_owned(),
    ] {
        assert!(stats.contains(&line), "{line} is not in\n{stats}");
    }
    let dump: serde_json::Value = serde_json::from_str(&get(admin, "/config_dump").await.body).unwrap();
    assert_eq!(dump["profiles"][1]["name"], "p");
    let endpoint = &dump["clusters"][0]["endpoints"][0];
    assert_eq!((&endpoint["address"], &endpoint["requests"]), (&upstream.address.to_string().into(), &10.into()));
    assert!(get(admin, "/").await.body.contains("/config_dump"));
    assert_eq!(get(admin, "/nothing").await.status, 404);
    assert_eq!(get(admin, "/quitquitquit").await.status, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quitquitquit_ends_it() {
    let settings = Settings { admin: Some("127.0.0.1:0".parse().unwrap()), ..settings() };
    let proxy = start_with(settings, plan(vec![], vec![]), all_to("v1", ""));
    let admin = proxy.admin_addr().unwrap();
    assert_eq!(send(admin, request("POST", "/quitquitquit").body(Full::default()).unwrap()).await.status, 200);
    let waited = tokio::task::spawn_blocking(move || proxy.wait());
    tokio::time::timeout(Duration::from_secs(5), waited).await.unwrap().unwrap();
    assert_eq!(get(admin, "/ready").await.status, 503);
}
