//! `inboxctl console`: the process that serves it, its checks and test deliveries.

use std::process::Stdio;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::{CliHarness, inboxctl_command};

/// A process that serves the console, and a signed-in client.
pub(crate) struct RunningConsole {
    _process: Child,
    client: Client,
    origin: String,
    cookie: String,
}

/// The printed address by 127.0.0.1: not every system finds the name, which browsers know.
fn at_loopback_address(url: &str) -> String {
    let (name, rest) = url.strip_prefix("http://").unwrap().split_once(':').unwrap();
    assert!(name.ends_with(".localhost") || name == "127.0.0.1", "{url}");
    format!("http://127.0.0.1:{rest}")
}

impl RunningConsole {
    async fn start(harness: &CliHarness, options: &str) -> Self {
        Self::start_with_env(harness, options, &[]).await
    }

    /// A console of the harness's stack, unless a variable names another endpoint for a service.
    pub(crate) async fn start_with_env(harness: &CliHarness, options: &str, env: &[(&str, &str)]) -> Self {
        let (aws, base) = (harness.aws_url.as_str(), harness.http_url.as_str());
        let words = format!("--json --base-url {base} console --no-open {options}");
        let env = [&[("AWS_ENDPOINT_URL", aws)], env].concat();
        let mut command = inboxctl_command(&words, &env);
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await.unwrap();
        let printed: serde_json::Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
        let url = &at_loopback_address(printed["url"].as_str().unwrap());
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let typed = client.get(url).header("sec-fetch-site", "none").header("sec-fetch-dest", "document");
        let signed_in = typed.send().await.unwrap();
        let cookie = signed_in.headers()["set-cookie"].to_str().unwrap();
        Self {
            _process: process,
            cookie: cookie.split(';').next().unwrap().to_owned(),
            origin: url.split_once("/?").unwrap().0.to_owned(),
            client,
        }
    }

    async fn request(&self, method: Method, path: &str, body: &str) -> (StatusCode, String, String) {
        let request = self.client.request(method, format!("{}{path}", self.origin));
        let request = request
            .header("cookie", &self.cookie)
            .header("sec-fetch-site", "same-origin")
            .header("origin", &self.origin)
            .header("content-type", "application/x-www-form-urlencoded");
        let response = request.body(body.to_owned()).send().await.unwrap();
        let location = response.headers().get("location").map_or("", |it| it.to_str().unwrap()).to_owned();
        (response.status(), location, response.text().await.unwrap())
    }

    /// The text of a page, without its tags.
    pub(crate) async fn text(&self, path: &str) -> String {
        let (status, _, html) = self.request(Method::GET, path, "").await;
        assert_eq!(status, StatusCode::OK, "{path}");
        // Without style sheet and script.
        let html = html.split_once("</style>").unwrap().1.split_once("<script>").unwrap().0;
        let mut text = String::new();
        for part in html.split('<') {
            text += part.split_once('>').map_or("", |(_, text)| text);
            text += " ";
        }
        let text =
            text.replace("&#39;", "'").replace("&#38;", "&").replace("&#60;", "<").replace("&#62;", ">");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_checks_and_sends_as_the_commands_do() {
    let harness = CliHarness::with_system_clock().await;
    let console = RunningConsole::start(&harness, "").await;
    assert!(console.origin.starts_with("http://127.0.0.1:"), "{}", console.origin);
    let overview = console.text("/").await;
    assert!(overview.contains(&format!("table inbox {} · us-east-1", harness.aws_url)), "{overview}");
    assert!(!overview.contains("production"));
    for (delivery, answer) in [
        ("fynapse:twice", "200 {\"status\":\"duplicate\"}"),
        ("rightfoot:good", "200 {\"status\":\"received\"}"),
        ("rightfoot:type", "200 {\"status\":\"quarantined\"}"),
        ("fynapse:signature", "403 {\"error\":\"Forbidden\"}"),
    ] {
        let (status, location, _) = console
            .request(Method::POST, "/send", &format!("delivery={}", delivery.replace(':', "%3A")))
            .await;
        assert_eq!(status, StatusCode::SEE_OTHER, "{delivery}");
        let result = console.text(&location).await.replace("&#34;", "\"");
        assert!(result.contains(&format!("{answer} in ")) && !result.contains("NOT as expected"), "{result}");
    }
    let checks = console.text("/checks").await;
    assert!(checks.contains("failed quarantine : open: 1, not processed; the oldest since "), "{checks}");
    assert!(checks.contains("checks do not apply here, or read the whole table"), "{checks}");
    // The same finding as that of the command.
    let doctor = harness.run("doctor").await;
    assert!(doctor.stdout.contains("open: 1, not processed; the oldest since "), "{}", doctor.stdout);
    let send = console.text("/send").await;
    let options = format!("inboxctl --endpoint-url {} --base-url {}", harness.aws_url, harness.http_url);
    assert!(send.contains(&format!("{options} send fynapse --spoil timestamp")), "{send}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_console_sends_nothing() {
    let harness = CliHarness::with_system_clock().await;
    let console = RunningConsole::start(&harness, "--read-only").await;
    let (status, _, _) = console.request(Method::POST, "/send", "delivery=fynapse%3Agood").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(harness.world.items().await.is_empty());
}

/// The page holds the address with which anybody can act as its user.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_for_the_browser_is_private_and_deleted_by_each_signal() {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    let harness = CliHarness::with_system_clock().await;
    for signal in ["INT", "TERM", "HUP"] {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        // A browser that notes which page it was given, and the modes of the page and its directory.
        let browser = format!(
            "#!/bin/sh\nstat -c %a \"$1\" \"${{1%/*}}\" > {0}.new && echo \"$1\" >> {0}.new && mv {0}.new {0}\n",
            path("opened")
        );
        for opener in ["xdg-open", "open"] {
            std::fs::write(path(opener), &browser).unwrap();
            std::fs::set_permissions(path(opener), PermissionsExt::from_mode(0o700)).unwrap();
        }
        // `sh`, so that the umask takes nothing away.
        let inboxctl = format!("umask 0; exec {} console", env!("CARGO_BIN_EXE_inboxctl"));
        let mut command = tokio::process::Command::new("/bin/sh");
        command
            .args(["-c", &inboxctl])
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", dir.path().to_str().unwrap()))
            .envs([("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local"), ("DISPLAY", ":0")])
            .envs([("AWS_ENDPOINT_URL", harness.aws_url.as_str()), ("TMPDIR", dir.path().to_str().unwrap())])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let opened = path("opened");
        for _ in 0..3_000 {
            if std::fs::exists(&opened).unwrap() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let opened = std::fs::read_to_string(opened).unwrap();
        let [page_mode, dir_mode, page] = opened.lines().collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((page_mode, dir_mode), ("600", "700"));
        let page = std::path::Path::new(page);
        assert!(page.exists());
        let id = process.id().unwrap().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
        let ended = tokio::time::timeout(Duration::from_secs(30), process.wait()).await.unwrap().unwrap();
        assert_eq!(ended.code(), Some(0), "SIG{signal}");
        assert!(!page.parent().unwrap().exists(), "SIG{signal}");
    }
}
