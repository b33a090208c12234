//! What the single lines of a head say: the request line, a response's status, headers. Pure functions of one line each; where
//! lines begin and end is `parse`'s.

use super::Method;
use super::parse::What;

/// A line without its end and without space there.
pub(super) fn trim_end(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

/// `METHOD URL RTSP/1.0`; the URL may be empty, and may have spaces in it that somebody forgot to encode.
pub(super) fn request_line(line: &[u8]) -> Option<(Method, String, (u8, u8))> {
    let version = version(line)?;
    let text = String::from_utf8_lossy(&line[..line.len() - "RTSP/1.0".len()]);
    let (method, url) = text.split_once(' ')?;
    Some((Method::from_token(method), url.trim().to_owned(), version))
}

/// The version at the end of a request line.
pub(super) fn version(line: &[u8]) -> Option<(u8, u8)> {
    match line.last_chunk()? {
        b" RTSP/1.0" => Some((1, 0)),
        [b' ', b'R', b'T', b'S', b'P', b'/', a, b'.', b] if a.is_ascii_digit() && b.is_ascii_digit() => {
            Some((a - b'0', b - b'0'))
        }
        _ => None,
    }
}

/// The status of a response's first line, `RTSP/1.0 200 OK`.
pub(super) fn status(line: &[u8]) -> Option<()> {
    let (version, rest) = line.strip_prefix(b"RTSP/")?.split_at_checked(3)?;
    let &[b' ', a, b, c, ..] = rest else { return None };
    (version[1] == b'.' && [a, b, c].iter().all(u8::is_ascii_digit)).then_some(())
}

/// Reads one header line, or the continuation of the one before it (RFC 2068 section 2.2).
pub(super) fn header(line: &[u8], headers: &mut Vec<(String, String)>) -> Result<(), What> {
    let line = String::from_utf8_lossy(line);
    if line.trim().is_empty() {
        return Ok(()); // the empty line at the end, or one of spaces
    }
    if line.starts_with([' ', '\t'])
        && let Some((_, value)) = headers.last_mut()
    {
        value.push(' ');
        value.push_str(line.trim());
        return Ok(());
    }
    let (name, value) = line.split_once(':').ok_or(What::Expected("`name: value`"))?;
    let name = name.trim();
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(What::Expected("a header's name"));
    }
    headers.push((name.to_owned(), value.trim().to_owned()));
    Ok(())
}

/// How many bytes of a body follow: none where the header is missing, `most` at most.
pub(super) fn content_length(headers: &[(String, String)], most: usize) -> Result<usize, What> {
    let Some((_, value)) = headers
        .iter()
        .find(|h| h.0.eq_ignore_ascii_case("content-length"))
    else {
        return Ok(0);
    };
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(What::Expected("a number in `Content-Length`"));
    }
    let length = value.parse().unwrap_or(usize::MAX); // digits that do not fit are too many
    if length > most {
        return Err(What::TooLong(most));
    }
    Ok(length)
}
