//! Slow clients: those that send little by little, or nothing, hold a connection only for a while.

use std::time::{Duration, Instant};

use inbox_console::ServerLimits;
use tests::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Browser, TestHost};

const HEADER_TIMEOUT: Duration = Duration::from_millis(400);
const BODY_TIMEOUT: Duration = Duration::from_millis(400);
const CONNECTION_MAX_AGE: Duration = Duration::from_secs(60);

async fn browser(connections_max: usize, connection_max_age: Duration) -> Browser {
    let limits = ServerLimits {
        connections_max,
        header_timeout: HEADER_TIMEOUT,
        connection_max_age,
        last_request_timeout: Duration::from_millis(400),
    };
    let limit = |console: inbox_console::Console| console.with_limits(limits, BODY_TIMEOUT);
    Browser::with_limits(World::new().await, TestHost::default(), false, limit).await
}

impl Browser {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    /// The head of a form of this console, with a body of 100 bytes.
    fn form_head(&self, cookie: &str) -> String {
        let host = format!("127.0.0.1:{}", self.port);
        format!(
            "POST /send HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\nsec-fetch-site: same-origin\r\n\
             cookie: {cookie}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\n"
        )
    }
}

/// The first line of what comes until the console closes the connection, and the time until then.
async fn read_until_closed(mut stream: TcpStream) -> (String, Duration) {
    let (start, mut answer) = (Instant::now(), Vec::new());
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    assert!(matches!(read, Ok(Ok(_))), "the connection stays open: {read:?}");
    (String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned(), start.elapsed())
}

#[tokio::test]
async fn a_client_that_sends_no_whole_head_loses_the_connection() {
    let browser = browser(10, CONNECTION_MAX_AGE).await;
    for sent in ["", "GET / HTTP/1.1\r\nhost: 127.0.0.1"] {
        let mut stream = browser.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let (line, took) = read_until_closed(stream).await;
        assert!(line.is_empty() && took >= HEADER_TIMEOUT / 2, "{sent:?}: {line}, {took:?}");
    }
    // One byte at a time is not better.
    let mut stream = browser.connect().await;
    let start = Instant::now();
    while stream.write_all(b"G").await.is_ok() {
        tokio::time::sleep(HEADER_TIMEOUT / 8).await;
        assert!(start.elapsed() < Duration::from_secs(20), "the connection stays open");
    }
}

#[tokio::test]
async fn a_form_that_does_not_come_is_answered_and_sends_nothing() {
    let browser = browser(10, CONNECTION_MAX_AGE).await;
    let mut stream = browser.connect().await;
    stream.write_all(browser.form_head(&browser.cookie).as_bytes()).await.unwrap();
    stream.write_all(b"delivery=fynapse").await.unwrap();
    let (line, took) = read_until_closed(stream).await;
    assert_eq!(line, "HTTP/1.1 408 Request Timeout");
    assert!(took >= BODY_TIMEOUT / 2, "{took:?}");
    assert!(browser.host.sent.lock().unwrap().is_empty());
}

/// Nobody who is not signed in can make the console wait for a body.
#[tokio::test]
async fn a_stranger_is_answered_before_the_body() {
    let browser = browser(10, CONNECTION_MAX_AGE).await;
    let mut stream = browser.connect().await;
    stream.write_all(browser.form_head("a=b").as_bytes()).await.unwrap();
    let (line, _) = read_until_closed(stream).await;
    assert_eq!(line, "HTTP/1.1 401 Unauthorized");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_until_silent_ones_are_closed() {
    let browser = browser(3, CONNECTION_MAX_AGE).await;
    // The third connection is that of the sign-in, which is idle and ends like the others.
    let silent = [browser.connect().await, browser.connect().await];
    let mut stream = browser.connect().await;
    let request = format!("GET / HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\n\r\n", browser.port);
    stream.write_all(request.as_bytes()).await.unwrap();
    let (line, took) = read_until_closed(stream).await;
    assert_eq!(line, "HTTP/1.1 403 Forbidden");
    assert!(took >= HEADER_TIMEOUT / 4, "{took:?}");
    drop(silent);
}

#[tokio::test]
async fn a_connection_takes_requests_up_to_an_age() {
    let browser = browser(10, Duration::from_millis(300)).await;
    let mut stream = browser.connect().await;
    let request = format!("GET /icon.svg HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n\r\n", browser.port);
    let (start, mut answered, mut buffer) = (Instant::now(), 0, vec![0; 16 * 1024]);
    // Each request comes before the time for its head is over.
    while stream.write_all(request.as_bytes()).await.is_ok() {
        if stream.read(&mut buffer).await.unwrap_or(0) == 0 {
            break;
        }
        answered += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(start.elapsed() < Duration::from_secs(20), "the connection stays open");
    }
    assert!(answered >= 1 && start.elapsed() >= Duration::from_millis(150), "{answered}");
}
