//! `shunt proxy` while its files change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use shunt_tests::client;
use shunt_tests::process::{self, Process, free_address, is_ok};
use std::net::SocketAddr;
use tempfile::TempDir;

const SERVICE: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews.example.com]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
";

/// Rules that answer with this text.
fn rules(answer: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews}}
spec:
  hosts: [reviews.example.com]
  http:
  - directResponse: {{status: 200, body: {{string: {answer}}}}}
"
    )
}

/// A proxy, and the folder that it watches.
struct World {
    process: Process,
    folder: TempDir,
    listen: SocketAddr,
}

impl World {
    fn start(rules: &str) -> Self {
        let (shunt, folder) =
            (process::shunt().unwrap_or_else(|error| panic!("{error}")), tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("service.yaml"), SERVICE).unwrap();
        std::fs::write(folder.path().join("rules.yaml"), rules).unwrap();
        let (listen, admin) = (free_address(), free_address());
        let (files, listen_text, admin_text) =
            (folder.path().to_string_lossy().into_owned(), listen.to_string(), admin.to_string());
        let arguments = ["proxy", "-f", &files, "--listen", &listen_text, "--admin", &admin_text, "--workers", "1"];
        let mut process = Process::start(&shunt, arguments, folder.path().join("log")).unwrap();
        process.wait_until(|| is_ok(admin, "/ready")).unwrap_or_else(|error| panic!("{error}"));
        Self { process, folder, listen }
    }

    /// What the proxy answers, once it has said `word` again after this change to the rules. `None` removes them.
    fn after(&mut self, rules: Option<&str>, word: &str) -> String {
        let (log, file) = (self.folder.path().join("log"), self.folder.path().join("rules.yaml"));
        let said = || std::fs::read_to_string(&log).unwrap().matches(word).count();
        let before = said();
        match rules {
            Some(text) => std::fs::write(file, text).unwrap(),
            None => std::fs::remove_file(file).unwrap(),
        }
        self.process.wait_until(|| said() > before).unwrap_or_else(|error| panic!("{word}: {error}"));
        self.answer()
    }

    fn answer(&self) -> String {
        let reply = client::get(self.listen, "reviews.example.com", "/").unwrap();
        match reply.status {
            200 => String::from_utf8(reply.body).unwrap(),
            status => status.to_string(),
        }
    }
}

#[test]
fn a_file_that_is_emptied_changes_nothing_and_one_that_is_taken_away_does() {
    let mut world = World::start(&rules("first"));
    assert_eq!(world.answer(), "first");
    assert_eq!(world.after(Some(""), "what ran before goes on\n"), "first");
    let said = world.process.said();
    assert!(said.contains("rules.yaml: empty now, and there were objects in it"), "{said}");
    assert_eq!(world.after(Some(&rules("second")), "reloaded\n"), "second");
    // Emptied again, and still compared with what is served.
    assert_eq!(world.after(Some("\n"), "what ran before goes on\n"), "second");
    // Without its rules the service has no endpoint either.
    assert_eq!(world.after(Some("# no rules for now\n"), "reloaded\n"), "503");
    assert_eq!(world.after(Some(""), "reloaded\n"), "503");
    assert_eq!(world.after(Some(&rules("third")), "reloaded\n"), "third");
    assert_eq!(world.after(None, "reloaded\n"), "503");
}
