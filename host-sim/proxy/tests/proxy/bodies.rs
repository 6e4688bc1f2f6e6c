//! Bodies: streamed as they come, whole, and to nobody else.

use crate::support::*;
use bytes::Bytes;
use http_body_util::Full;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_passed_on_as_it_comes() {
    let upstream =
        Upstream::start(|_, _| async { pieces(vec!["one ", "two ", "three"], None, Duration::from_secs(1)) }).await;
    let proxy = start_one(profile("p"), &[upstream.address]);
    let mut stream = TcpStream::connect(proxy.local_addr()).await.unwrap();
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    let begun = std::time::Instant::now();
    while !text.contains("one ") {
        text += &read_some(&mut stream).await;
    }
    assert!(begun.elapsed() < Duration::from_millis(1_900), "the first piece waits for no other");
    while !text.ends_with("0\r\n\r\n") {
        text += &read_some(&mut stream).await;
    }
    assert!(text.contains("three"));
}

async fn read_some(stream: &mut TcpStream) -> String {
    let mut some = vec![0; 1000];
    let len = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut some)).await.unwrap().unwrap();
    assert!(len > 0, "closed");
    some.truncate(len);
    String::from_utf8(some).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_pass_whole_in_both_directions() {
    let upstream = Upstream::start(|_, seen| async move { answer(200, seen.body) }).await;
    let proxy = start_one(profile("p"), &[upstream.address]);
    let body: Vec<u8> = (0..5_000_000).map(|n: u32| b'a' + (n % 26) as u8).collect();
    let post = request("POST", "/").body(Full::from(Bytes::from(body.clone()))).unwrap();
    let got = send(proxy.local_addr(), post).await;
    assert_eq!(got.status, 200);
    assert!(got.body.as_bytes() == body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_waits_for_100_gets_it() {
    let upstream = Upstream::start(|_, seen| async move { answer(200, seen.body) }).await;
    let proxy = start_one(profile("p"), &[upstream.address]);
    let mut stream = TcpStream::connect(proxy.local_addr()).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(read_some(&mut stream).await.starts_with("HTTP/1.1 100 Continue"));
    stream.write_all(b"body").await.unwrap();
    let mut text = String::new();
    while !text.ends_with("body") {
        text += &read_some(&mut stream).await;
    }
    assert!(!upstream.seen()[0].headers.contains_key("expect"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_is_not_made_to_look_whole() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1000]).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort").await.unwrap();
    });
    let proxy = start_one(profile("p"), &[address]);
    let mut stream = TcpStream::connect(proxy.local_addr()).await.unwrap();
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = Vec::new();
    // Closed, with or without a reset.
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut text)).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("short"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_reaches_a_client_that_still_sends() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1000]).await;
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
    });
    let proxy = start_one(profile("p"), &[address]);
    let mut stream = TcpStream::connect(proxy.local_addr()).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000\r\n\r\npart");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.ends_with("no") {
        text += &read_some(&mut stream).await;
    }
    assert!(text.starts_with("HTTP/1.1 413"), "{text}");
}
