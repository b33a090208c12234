//! Who may ask for what, and what they are told.

use super::*;

#[tokio::test]
async fn every_answer_has_the_security_headers_and_no_cookie() {
    let served = Served::start().await;
    served.camera("cam");
    for target in [
        "/",
        "/style.css",
        "/app.js",
        "/icon.svg",
        "/live/cam/",
        "/api/v1/paths",
        "/healthz",
        "/nothing",
    ] {
        let answer = served.get(target).await;
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'"),
            "{target}"
        );
        assert!(
            policy.contains("frame-ancestors 'self'") && !policy.contains("unsafe"),
            "{target}"
        );
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{target}"
        );
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{target}");
        assert_eq!(
            answer.header("cross-origin-resource-policy"),
            Some("same-origin"),
            "{target}"
        );
        assert!(answer.header("cache-control").is_some(), "{target}");
        assert!(
            answer.header("set-cookie").is_none() && answer.header("server").is_none(),
            "{target}"
        );
        assert!(
            !answer.head.to_lowercase().contains("http://") && !answer.head.contains("https://"),
            "{target}"
        );
    }
}

#[tokio::test]
async fn the_page_asks_no_other_server_for_anything() {
    let served = Served::start().await;
    for target in ["/", "/style.css", "/app.js"] {
        let page = served.get(target).await;
        assert_eq!(page.status, 200);
        let text = page.text().replace("http://www.w3.org/2000/svg", ""); // a name, not an address
        assert!(
            !text.contains("http://") && !text.contains("https://") && !text.contains("//cdn"),
            "{target}"
        );
    }
    assert!(
        served
            .get("/")
            .await
            .header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_that_says_what_to_do_and_echoes_nothing() {
    let served = Served::start().await;
    for target in [
        "/canary",
        "/live/canary/",
        "/live/canary/stream.mjpeg?token=canary",
        "/live/canary",
        "/live/",
    ] {
        let answer = served.get(target).await;
        answer.is_problem(404);
        assert!(
            !answer.text().contains("canary") && !answer.head.contains("canary"),
            "{target}"
        );
    }
    served.camera("cam");
    served
        .get("/live/cam/snapshot.jpg?width=canary")
        .await
        .is_problem(400);
    served.get("/api/v1/stats?since=canary").await.is_problem(400);
    served
        .get("/api/v1/stats?since=2026-05-02T00:00:00Z&until=2026-05-01T00:00:00Z")
        .await
        .is_problem(400);
    let posted = served.ask(
        "POST /api/v1/paths HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
    );
    let posted = posted.await;
    posted.is_problem(405);
    assert_eq!(posted.header("allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn a_path_without_slash_leads_to_its_page_under_its_own_name() {
    let served = Served::start().await;
    served.camera("Floor/2");
    let answer = served.get("/live/floor%2f2?token=canary").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (308, Some("/live/Floor/2/"))
    );
    assert_eq!(served.get("/live/Floor/2/").await.status, 200);
}

#[tokio::test]
async fn with_users_everything_but_health_needs_credentials() {
    let users = Users::new("louver", vec![User::new("viewer", "louver", "secret")]);
    let served = Served::with(Options::default(), Some(users)).await;
    served.camera("cam");
    assert_eq!(served.get("/healthz").await.status, 200);
    for target in [
        "/",
        "/app.js",
        "/metrics",
        "/api/v1/paths",
        "/live/cam/snapshot.jpg",
        "/live/none/",
        "/none",
    ] {
        let answer = served.get(target).await;
        let problem = answer.is_problem(401);
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Basic realm=\"louver\", charset=\"UTF-8\""),
            "{target}"
        );
        assert!(!problem.to_string().contains("viewer"), "{problem}");
    }
    let with = |password: &str| {
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("viewer:{password}"));
        format!(
            "GET / HTTP/1.1\r\nHost: cam.example\r\nAuthorization: Basic {basic}\r\nConnection: close\r\n\r\n"
        )
    };
    served.ask(&with("wrong")).await.is_problem(401);
    assert_eq!(served.ask(&with("secret")).await.status, 200);
    assert_eq!(served.metric("louver_lost_total{reason=\"Unauthorized\"}"), 8);
}

#[tokio::test]
async fn an_open_loopback_listener_answers_to_no_foreign_host_name() {
    let served = Served::start().await;
    let from =
        |host: &str| format!("GET /api/v1/paths HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    for ours in ["localhost:8080", "127.0.0.1", "[::1]:8080"] {
        assert_eq!(served.ask(&from(ours)).await.status, 200, "{ours}");
    }
    for theirs in ["rebound.example", "rebound.example:8080", "a b", ""] {
        served.ask(&from(theirs)).await.is_problem(421);
    }
    assert_eq!(served.ask("GET / HTTP/1.0\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn the_list_of_paths_tells_how_to_watch_them() {
    let options = Options {
        rtsp_port: Some(9554),
        ..Options::default()
    };
    let served = Served::with(options, None).await;
    let path = served.camera("floor/2");
    path.report(
        hub::PathState::Waiting,
        Some("no such device; plug one in".into()),
    );
    let list = served.get("/api/v1/paths").await.json();
    assert_eq!(list["next"], serde_json::Value::Null);
    let item = &list["items"][0];
    assert_eq!(item["path"], "floor/2");
    assert_eq!(item["state"], "waiting");
    assert_eq!(item["source"], "pattern:");
    assert_eq!(item["viewers"], 0);
    assert_eq!(item["tracks"], serde_json::json!([]));
    assert_eq!(item["last_error"], "no such device; plug one in");
    assert_eq!(item["urls"]["rtsp"], "rtsp://localhost:9554/floor/2");
    assert_eq!(item["urls"]["snapshot"], "/live/floor/2/snapshot.jpg");
    let since: jiff::Timestamp = item["since"].as_str().unwrap().parse().unwrap();
    assert!(SystemTime::from(since).elapsed().unwrap() < LONG);
}

#[tokio::test]
async fn one_connection_too_many_is_refused_and_counted() {
    let options = Options {
        max_connections: 1,
        ..Options::default()
    };
    let served = Served::with(options, None).await;
    let first = TcpStream::connect(served.addr).await.unwrap();
    served
        .until("the first", |s| s.metric("louver_connections") == 1)
        .await;
    let mut second = TcpStream::connect(served.addr).await.unwrap();
    let mut answer = String::new();
    within(second.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(served.metric("louver_lost_total{reason=\"Limit\"}"), 1);
    drop(first);
    served
        .until("leaving", |s| s.metric("louver_connections") == 0)
        .await;
    assert_eq!(served.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_head_that_does_not_end_ends_the_connection() {
    let options = Options {
        head_timeout: Duration::from_millis(100),
        ..Options::default()
    };
    let served = Served::with(options, None).await;
    let mut slow = Client::open(served.addr, "GET / HTTP/1.1\r\nHost: loc").await;
    let mut rest = Vec::new();
    within(slow.input.read_to_end(&mut rest)).await.unwrap();
    let large = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let mut large = Client::open(served.addr, &large).await;
    assert_eq!(large.head().await.status, 431);
}
