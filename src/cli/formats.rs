//! `louver formats`: what this build takes in and gives out.

use std::fmt::Write;

use crate::av::formats;
use crate::av::formats::Formats;
use crate::cli::Failure;
use crate::cli::result;
use crate::web::api;
use crate::web::api::FormatsJson;

/// Prints all lists.
pub(super) fn formats(as_json: bool) -> Result<(), Failure> {
    let formats = formats::list();
    let text = match as_json {
        true => api::to_line(&FormatsJson::from(&formats)),
        false => to_text(&formats),
    };
    result(text.as_bytes())
}

fn to_text(f: &Formats) -> String {
    let mut out = format!(
        "Louver {} with {} ({})\n",
        env!("CARGO_PKG_VERSION"),
        f.ffmpeg,
        f.licence
    );
    let _ = match &f.h264_encoder {
        Ok(name) => writeln!(out, "Cameras are encoded as H.264 by {name}."),
        Err(why) => writeln!(out, "Cameras cannot be encoded as H.264: {why}."),
    };
    heading(
        &mut out,
        "Relayed (R over RTSP as it came, T as MPEG-TS for players that ask, P as pictures)",
    );
    for r in &f.relayed {
        let flags = [flag(r.rtsp, 'R'), flag(r.mpegts, 'T'), flag(r.pictures, 'P')];
        row(&mut out, &flags, &r.codec, "");
    }
    heading(&mut out, "Kinds of capture devices");
    for d in &f.devices {
        row(&mut out, &[], &d.name, &d.description);
    }
    heading(&mut out, "Protocols of FFmpeg's libraries (R read, W written)");
    for p in &f.protocols {
        row(&mut out, &[flag(p.reads, 'R'), flag(p.writes, 'W')], &p.name, "");
    }
    heading(&mut out, "Containers of FFmpeg's libraries (R read, W written)");
    for c in &f.containers {
        row(
            &mut out,
            &[flag(c.reads, 'R'), flag(c.writes, 'W')],
            &c.name,
            &c.description,
        );
    }
    heading(&mut out, "Codecs of FFmpeg's libraries (D decoded, E encoded)");
    for c in &f.codecs {
        let about = format!("{}: {}", c.kind, c.description);
        row(
            &mut out,
            &[flag(c.decodes, 'D'), flag(c.encodes, 'E')],
            &c.name,
            &about,
        );
    }
    out
}

fn heading(out: &mut String, text: &str) {
    let _ = writeln!(out, "\n{text}");
}

fn flag(is: bool, letter: char) -> char {
    if is { letter } else { '.' }
}

fn row(out: &mut String, flags: &[char], name: &str, about: &str) {
    let flags: String = flags.iter().collect();
    let line = format!("  {flags:<3} {name:<24} {about}");
    let _ = writeln!(out, "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_tell_of_h264_and_of_this_builds_libraries() {
        let formats = formats::list();
        let text = to_text(&formats);
        assert!(
            text.contains("\n  RTP H.264\n") && text.contains("\nCodecs of FFmpeg"),
            "{text}"
        );
        let value = serde_json::to_value(FormatsJson::from(&formats)).unwrap();
        for list in ["relayed", "codecs", "containers", "protocols", "devices"] {
            assert!(!value[list].as_array().unwrap().is_empty(), "{list}");
        }
        let h264 = |c: &serde_json::Value| c["name"] == "h264" && c["decodes"] == true;
        assert!(value["codecs"].as_array().unwrap().iter().any(h264));
    }
}
