//! Where a source sends us that answers 3xx: retina does not tell, so it is asked again by hand.

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::address::Pull;

/// Longest answer that is read, bytes.
const MAX_ANSWER: usize = 16 << 10;

/// The source that this one points at; `None` if it does not, or not in a way that is understood.
pub(super) async fn location(pull: &Pull) -> Option<Pull> {
    let authority = pull.authority();
    let mut socket = match authority.rsplit_once(':') {
        Some((_, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            TcpStream::connect(authority).await.ok()?
        }
        _ => TcpStream::connect((authority.trim_matches(['[', ']']), 554))
            .await
            .ok()?,
    };
    let request = format!(
        "DESCRIBE {} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n",
        pull.url
    );
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let mut socket = socket.take(MAX_ANSWER as u64);
    while !ends(&answer) {
        if socket.read_buf(&mut answer).await.ok()? == 0 {
            break;
        }
    }
    pull.moved_to(&location_of(&String::from_utf8_lossy(&answer))?)
}

fn ends(answer: &[u8]) -> bool {
    answer.windows(2).any(|w| w == b"\n\n") || answer.windows(4).any(|w| w == b"\r\n\r\n")
}

/// The `Location` of an answer with a status of 3xx.
fn location_of(answer: &str) -> Option<String> {
    let mut lines = answer.lines();
    let status = lines.next()?.split_whitespace().nth(1)?;
    if !status.starts_with('3') {
        return None;
    }
    lines.take_while(|l| !l.is_empty()).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case("location")
            .then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_place_is_found_in_answers_of_3xx_only() {
        let moved = "RTSP/1.0 302 Moved Temporarily\r\nCSeq: 1\r\nlocation:  rtsp://b/1 \r\n\r\n";
        assert_eq!(location_of(moved).as_deref(), Some("rtsp://b/1"));
        assert_eq!(
            location_of("RTSP/1.0 301 x\nLocation: rtsp://b/2\n\n").as_deref(),
            Some("rtsp://b/2")
        );
        assert_eq!(
            location_of("RTSP/1.0 200 OK\r\nLocation: rtsp://b/1\r\n\r\n"),
            None
        );
        assert_eq!(
            location_of("RTSP/1.0 302 Moved\r\n\r\nLocation: rtsp://b/1"),
            None
        );
        assert_eq!(location_of(""), None);
    }
}
