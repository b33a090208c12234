//! Alerts as a mail server and a web server of the test's own receive them.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use sha2::Sha256;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use super::*;
use crate::audit::Actor;
use crate::audit::rules::Alert;
use crate::audit::rules::Rule;
use crate::telemetry::ByReason;

const SECRET: &str = "a secret of the test, quite long";
const SOON: Duration = Duration::from_secs(30);

fn alert() -> Alert {
    Alert {
        rule: Rule::Downgrade,
        actor: Actor::Relay,
        ts: 1_790_000_000,
    }
}

fn lost(metrics: &Metrics) -> u64 {
    let reason = Reason::AlertNotSent;
    metrics.lost.get_or_create(&ByReason { reason }).get()
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn mail(port: u16, login: bool) -> Options {
    let mail = Mail {
        server: Server::parse(&format!("smtp://127.0.0.1:{port}")).unwrap(),
        login: login.then(|| ("louver".to_owned(), Secret::new("pass word"))),
        from: "louver@example.org".to_owned(),
        to: vec!["dpo@example.org".to_owned(), "admin@example.org".to_owned()],
    };
    Options {
        mail: Some(mail),
        webhook: None,
    }
}

fn webhook(port: u16) -> Options {
    let webhook = Webhook {
        target: Target::parse(&format!("http://127.0.0.1:{port}/alerts?of=louver")).unwrap(),
        secret: Secret::new(SECRET),
    };
    Options {
        mail: None,
        webhook: Some(webhook),
    }
}

/// Takes one message as a mail server does, answering `status` to its end; all that was said, and the message.
async fn take_mail(listener: &TcpListener, status: &str) -> (Vec<String>, String) {
    let (stream, _) = listener.accept().await.unwrap();
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let (mut said, mut letter, mut in_data) = (Vec::new(), String::new(), false);
    write.write_all(b"220 test ESMTP\r\n").await.unwrap();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match line.split(' ').next().unwrap_or_default() {
            _ if in_data && line != "." => {
                letter.push_str(&line);
                letter.push('\n');
                continue;
            }
            _ if in_data => {
                in_data = false;
                format!("{status} so it is")
            }
            "EHLO" => "250-test\r\n250 AUTH PLAIN".to_owned(),
            "AUTH" => "235 welcome".to_owned(),
            "DATA" => {
                in_data = true;
                "354 go on".to_owned()
            }
            "QUIT" => "221 bye".to_owned(),
            _ => "250 ok".to_owned(),
        };
        said.push(line);
        write.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
        if said.last().is_some_and(|line| line == "QUIT" || line == ".") {
            break;
        }
    }
    (said, letter)
}

/// Takes one request and answers it; its headers (in lower case) and its body.
async fn take_request(stream: TcpStream, status: u16) -> (String, HashMap<String, String>, String) {
    let mut stream = BufReader::new(stream);
    let (mut first, mut line) = (String::new(), String::new());
    stream.read_line(&mut first).await.unwrap();
    let mut headers = HashMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    (first, headers, String::from_utf8(body).unwrap())
}

/// As a receiver does it.
fn is_signed(headers: &HashMap<String, String>, body: &str) -> bool {
    let signed = format!(
        "{}.{}.{body}",
        headers["webhook-id"], headers["webhook-timestamp"]
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    let given = headers["webhook-signature"].strip_prefix("v1,").unwrap();
    mac.verify_slice(&STANDARD.decode(given).unwrap()).is_ok()
}

#[tokio::test]
async fn an_alert_arrives_by_mail() {
    let (listener, port) = listen().await;
    let tasks = Tasks::new();
    let sink = start(&tasks, &mail(port, true), &Metrics::new());
    assert!(sink(alert()));
    let (said, letter) = tokio::time::timeout(SOON, take_mail(&listener, "250"))
        .await
        .unwrap();
    for line in [
        "EHLO localhost",
        "AUTH PLAIN AGxvdXZlcgBwYXNzIHdvcmQ=",
        "MAIL FROM:<louver@example.org>",
        "RCPT TO:<dpo@example.org>",
        "RCPT TO:<admin@example.org>",
    ] {
        assert!(said.iter().any(|said| said == line), "{line} is not in {said:?}");
    }
    assert!(
        letter.contains("Subject: Louver alert: privacy-downgrade\n"),
        "{letter}"
    );
    assert!(letter.contains(Rule::Downgrade.text()), "{letter}");
    assert!(tasks.shutdown(SOON).await);
}

#[tokio::test]
async fn an_alert_arrives_at_a_webhook_and_nobody_can_change_it() {
    let (listener, port) = listen().await;
    let tasks = Tasks::new();
    let sink = start(&tasks, &webhook(port), &Metrics::new());
    assert!(sink(alert()));
    let receive = async { take_request(listener.accept().await.unwrap().0, 204).await };
    let (first, headers, body) = tokio::time::timeout(SOON, receive).await.unwrap();
    assert_eq!(first, "POST /alerts?of=louver HTTP/1.1\r\n");
    assert!(is_signed(&headers, &body), "{headers:?} {body}");
    assert!(!is_signed(&headers, &body.replace("downgrade", "upgrade")));
    let mut later = headers.clone();
    later.insert("webhook-timestamp".to_owned(), "1".to_owned());
    assert!(!is_signed(&later, &body), "the time is signed, too");
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json["data"]["rule"], "privacy-downgrade");
    assert_eq!(json["data"]["actor"], "relay");
    assert!(tasks.shutdown(SOON).await);
}

#[tokio::test]
async fn what_fails_for_a_moment_is_sent_again_as_the_same_alert() {
    let (listener, port) = listen().await;
    let (tasks, metrics) = (Tasks::new(), Metrics::new());
    let sink = start_with(&tasks, &webhook(port), &metrics, vec![Duration::ZERO; 5]);
    assert!(sink(alert()));
    let receive = async {
        drop(listener.accept().await.unwrap()); // hung up without a word
        let mut ids = Vec::new();
        for status in [503, 429, 200] {
            let (_, headers, body) = take_request(listener.accept().await.unwrap().0, status).await;
            assert!(is_signed(&headers, &body));
            ids.push(headers["webhook-id"].clone());
        }
        ids
    };
    let ids = tokio::time::timeout(SOON, receive).await.unwrap();
    assert!(ids[0] == ids[1] && ids[1] == ids[2]);
    assert!(tasks.shutdown(SOON).await);
    assert_eq!(lost(&metrics), 0);
}

#[tokio::test]
async fn what_cannot_be_delivered_is_counted_and_the_next_one_is_tried() {
    let (listener, port) = listen().await;
    let (tasks, metrics) = (Tasks::new(), Metrics::new());
    let sink = start_with(&tasks, &mail(port, false), &metrics, vec![Duration::ZERO; 2]);
    assert!(sink(alert()) && sink(alert()));
    let receive = async {
        take_mail(&listener, "554").await; // for good: not tried again
        take_mail(&listener, "250").await
    };
    let (_, letter) = tokio::time::timeout(SOON, receive).await.unwrap();
    assert!(letter.contains("privacy-downgrade"));
    assert!(tasks.shutdown(SOON).await);
    assert_eq!(lost(&metrics), 1);
}

#[tokio::test]
async fn a_server_that_says_nothing_holds_up_nobody() {
    let (_listener, port) = listen().await; // takes connections, and no more
    let (tasks, metrics) = (Tasks::new(), Metrics::new());
    let sink = start(&tasks, &webhook(port), &metrics);
    let taken = (0..1000).filter(|_| sink(alert())).count();
    assert!((QUEUE..=QUEUE + 1).contains(&taken), "{taken} waited");
    assert_eq!(lost(&metrics), 1000 - taken as u64);
}

#[tokio::test]
async fn a_test_tells_how_each_way_went() {
    let (mails, port) = listen().await;
    let (hooks, hook_port) = listen().await;
    let options = Options {
        webhook: webhook(hook_port).webhook,
        ..mail(port, false)
    };
    let servers = async {
        let (_, letter) = take_mail(&mails, "250").await;
        let (_, headers, body) = take_request(hooks.accept().await.unwrap().0, 404).await;
        assert!(is_signed(&headers, &body) && letter.contains("Subject: Louver alert: test"));
    };
    let (told, ()) = tokio::join!(test(&options, 1_790_000_000), servers);
    assert!(matches!(told[0], ("e-mail", Ok(()))), "{told:?}");
    assert!(
        matches!(told[1], ("webhook", Err(AlertError::WebhookRefused(404)))),
        "{told:?}"
    );
}

#[test]
fn neither_settings_nor_errors_print_a_secret() {
    let options = Options {
        webhook: webhook(9).webhook,
        ..mail(9, true)
    };
    let printed = format!("{options:?}");
    assert!(
        !printed.contains("pass word") && !printed.contains(SECRET),
        "{printed}"
    );
}
