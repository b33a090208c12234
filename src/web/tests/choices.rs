//! Consents, receipts, networks that object and share links, over real connections.

use super::*;
use crate::privacy::Consent;

async fn opt_in() -> Served {
    let rights = rights::Options {
        consent: Consent::OptIn,
        receipts: true,
        notice: "0102030405ff".into(),
        ..rights::Options::default()
    };
    Served::with_rights(Options::default(), None, rights).await
}

async fn receipts() -> Served {
    let rights = rights::Options {
        receipts: true,
        ..rights::Options::default()
    };
    Served::with_rights(Options::default(), None, rights).await
}

impl Served {
    async fn send(&self, method: &str, target: &str, headers: &str, form: &str) -> Answer {
        self.ask(&format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\
             Content-Length: {}\r\n\r\n{form}",
            form.len()
        ))
        .await
    }
    async fn post(&self, target: &str, form: &str) -> Answer {
        self.send("POST", target, "", form).await
    }
    /// Watches until the first picture came; the receipt of that session.
    async fn watch_one(&self, more: &str) -> (Client, Option<String>) {
        let path = self.hub.find("cam").unwrap();
        let request = format!("GET /live/cam/stream.mjpeg{more} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut client = Client::open(self.addr, &request).await;
        let head = client.head().await;
        assert_eq!(head.status, 200, "{}", head.head);
        path.pictures().publish(picture(64, 10));
        assert_eq!(client.line().await, "--louver");
        client.part().await;
        self.recorder.flushed().await;
        (client, head.header("privacy-receipt").map(str::to_owned))
    }
    async fn sessions(&self) -> u64 {
        self.recorder.flushed().await;
        let stats = self.get("/api/v1/stats").await.json();
        stats["sessions"].as_u64().unwrap()
    }
}

#[tokio::test]
async fn a_viewer_agrees_is_counted_and_takes_it_back() {
    let served = opt_in().await;
    served.camera("cam");
    let (_nobody, receipt) = served.watch_one("").await;
    assert_eq!((served.sessions().await, receipt), (0, None), "who did not agree");
    let given = served.post("/privacy/consent", "path=cam").await;
    assert_eq!(given.status, 201, "{}", given.head);
    assert_eq!(given.header("cache-control"), Some("no-store"));
    let given = given.json();
    let token = given["consent"].as_str().unwrap();
    assert_eq!(
        (given["path"].as_str(), given["notice"].as_str()),
        (Some("cam"), Some("0102030405ff"))
    );
    let (_watching, receipt) = served.watch_one(&format!("?consent={token}")).await;
    assert_eq!(served.sessions().await, 1);
    let receipt = receipt.unwrap();
    assert_eq!(
        served.get(&format!("/privacy/receipt/{receipt}")).await.status,
        200
    );
    let back = served
        .post("/privacy/withdraw", &format!("consent={token}"))
        .await;
    assert_eq!(
        (back.status, back.json()["erased_sessions"].as_u64()),
        (200, Some(1))
    );
    served
        .get(&format!("/privacy/receipt/{receipt}"))
        .await
        .is_problem(404);
    let (_again, receipt) = served.watch_one(&format!("?consent={token}")).await;
    assert_eq!((served.sessions().await, receipt), (1, None));
    served
        .post("/privacy/withdraw", "consent=c1.00.00")
        .await
        .is_problem(404);
    served.post("/privacy/withdraw", "").await.is_problem(404);
    served.post("/privacy/consent", "path=none").await.is_problem(404);
    served
        .post("/privacy/consent", &"x".repeat(5000))
        .await
        .is_problem(400);
}

#[tokio::test]
async fn a_receipt_is_for_its_holder_and_unknown_erased_and_forged_ones_look_the_same() {
    let served = receipts().await;
    served.camera("cam");
    let (_watching, receipt) = served.watch_one("").await;
    let receipt = receipt.unwrap();
    let url = format!("/privacy/receipt/{receipt}");
    let seen = served.get(&url).await;
    assert_eq!(
        (seen.status, seen.header("cache-control")),
        (200, Some("no-store"))
    );
    assert_eq!(seen.header("referrer-policy"), Some("no-referrer"));
    let seen = seen.json();
    assert_eq!(
        (
            seen["path"].as_str(),
            seen["protocol"].as_str(),
            seen["playing"].as_bool()
        ),
        (Some("cam"), Some("mjpeg"), Some(true))
    );
    let page = served.send("GET", &url, "Accept: text/html,*/*\r\n", "").await;
    assert!(page.text().contains("All that is kept"), "{}", page.text());
    assert_eq!(served.send("DELETE", &url, "", "").await.status, 204);
    let erased = served.get(&url).await;
    let forged = served
        .get(&format!(
            "/privacy/receipt/r1.{}.{}",
            "0".repeat(32),
            "0".repeat(32)
        ))
        .await;
    let nonsense = served.get("/privacy/receipt/x").await;
    assert_eq!(erased.is_problem(404), forged.is_problem(404));
    assert_eq!(forged.body, nonsense.body);
    assert_eq!(served.sessions().await, 1, "the count stays");
    served.send("PUT", &url, "", "").await.is_problem(405);
}

#[tokio::test]
async fn receipts_are_off_unless_the_operator_has_them_on() {
    let served = Served::start().await;
    served.camera("cam");
    let (_watching, receipt) = served.watch_one("").await;
    assert_eq!(receipt, None);
}

#[tokio::test]
async fn a_network_that_objects_is_counted_no_more_and_no_page_of_another_site_can_object_for_it() {
    let served = receipts().await;
    served.camera("cam");
    let evil = "Origin: https://evil.example\r\n";
    served
        .send("POST", "/privacy/network", evil, "")
        .await
        .is_problem(403);
    let (_before, receipt) = served.watch_one("").await;
    assert!(receipt.is_some());
    let said = served.post("/privacy/network", "").await;
    assert_eq!(
        (said.status, said.json()["counted"].as_bool()),
        (200, Some(false))
    );
    let (_after, receipt) = served.watch_one("").await;
    assert_eq!((served.sessions().await, receipt), (1, None));
    served.get("/privacy/network").await.is_problem(405);
}

#[tokio::test]
async fn the_page_of_choices_offers_what_there_is_and_its_forms_work_without_script() {
    let served = opt_in().await;
    served.camera("cam");
    let page = served.get("/privacy/choices").await;
    assert_eq!(
        (page.status, page.header("referrer-policy")),
        (200, Some("same-origin"))
    );
    for word in [
        "/privacy/network",
        "/privacy/consent",
        "/privacy/withdraw",
        "/privacy/receipt",
    ] {
        assert!(page.text().contains(&format!("action=\"{word}\"")), "{word}");
    }
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .contains("form-action 'self'")
    );
    assert!(!page.text().contains("<script"));
    let form = "Accept: text/html\r\nSec-Fetch-Site: same-origin\r\nOrigin: http://localhost\r\n";
    let given = served.send("POST", "/privacy/consent", form, "path=").await;
    assert!(given.text().contains("c1."), "{}", given.text());
    served
        .ask("GET /privacy/choices HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        .await
        .is_problem(421);
    let usual = Served::start().await;
    let page = usual.get("/privacy/choices").await;
    assert!(!page.text().contains("action=\"/privacy/consent\""));
    usual.post("/privacy/consent", "").await.is_problem(409);
}

#[tokio::test]
async fn a_shared_report_is_for_who_has_the_link_until_it_is_revoked() {
    let served = Served::start().await;
    served.camera("cam");
    let made = served
        .post("/api/v1/shares", "path=cam&days=3&expires_days=2")
        .await;
    assert_eq!(made.status, 201, "{}", made.head);
    let made = made.json();
    let url = made["url"].as_str().unwrap();
    let seen = served.get(url).await;
    assert_eq!(
        (seen.status, seen.header("cache-control")),
        (200, Some("no-store"))
    );
    assert_eq!(seen.header("referrer-policy"), Some("no-referrer"));
    let report = seen.json();
    assert_eq!(report["live"]["sessions"], 0, "nothing of now");
    assert_eq!(report["from"], made["from"]);
    let page = served.send("GET", url, "Accept: text/html\r\n", "").await;
    assert!(page.text().contains("<b>cam</b>"), "{}", page.text());
    let list = served.get("/api/v1/shares").await.json();
    assert_eq!(
        (
            list["items"][0]["views"].as_u64(),
            list["items"][0]["url"].as_str()
        ),
        (Some(2), None),
        "no link is told again"
    );
    let one = format!("/api/v1/shares/{}", made["id"].as_str().unwrap());
    assert_eq!(served.send("DELETE", &one, "", "").await.status, 204);
    served.send("DELETE", &one, "", "").await.is_problem(404);
    let (revoked, forged) = (served.get(url).await, served.get("/share/s1.00.00").await);
    assert_eq!(revoked.is_problem(404), forged.is_problem(404));
    for wrong in [
        "days=3",
        "path=cam&days=0",
        "path=cam&days=x",
        "path=cam&expires_days=1000",
    ] {
        served.post("/api/v1/shares", wrong).await.is_problem(400);
    }
    served.post("/api/v1/shares", "path=dam").await.is_problem(404);
}

#[tokio::test]
async fn links_are_made_and_ended_by_users_alone_and_seen_without_credentials() {
    let users = Users::new("louver", vec![User::new("viewer", "louver", "secret")]);
    let served = Served::with(Options::default(), Some(users)).await;
    served.camera("cam");
    for (method, url) in [
        ("GET", "/api/v1/shares"),
        ("POST", "/api/v1/shares"),
        ("DELETE", "/api/v1/shares/0011223344556677"),
    ] {
        served.send(method, url, "", "").await.is_problem(401);
    }
    let basic = base64::engine::general_purpose::STANDARD.encode("viewer:secret");
    let basic = format!("Authorization: Basic {basic}\r\n");
    let made = served.send("POST", "/api/v1/shares", &basic, "path=cam").await;
    let url = made.json()["url"].as_str().unwrap().to_owned();
    assert_eq!(served.get(&url).await.status, 200, "whoever has the link");
    assert_eq!(served.get("/privacy/choices").await.status, 200);
    let foreign = format!("{basic}Origin: https://evil.example\r\n");
    served
        .send("POST", "/api/v1/shares", &foreign, "path=cam")
        .await
        .is_problem(403);
}
