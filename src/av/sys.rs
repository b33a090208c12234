//! The raw calls into FFmpeg's libraries: the only unsafe code of the program.
//!
//! Each function is a few calls long and gives back a value that is safe to use anywhere. What to open,
//! with which options, and what the answers mean is decided by the callers.
#![allow(
    unsafe_code,
    reason = "ffmpeg-next has no safe call for these; everything else of the program forbids it"
)]

use std::cell::RefCell;
use std::ffi::CStr;
use std::ffi::CString;
use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_void;
use std::mem::transmute;
use std::ptr;
use std::sync::Mutex;
use std::sync::OnceLock;

use ffmpeg_next::Dictionary;
use ffmpeg_next::Error;
use ffmpeg_next::codec;
use ffmpeg_next::ffi;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::frame::Video;
use ffmpeg_next::software::scaling;
use ffmpeg_next::util::interrupt;
use tokio_util::sync::CancellationToken;

use super::AvError;
use super::log::Level;
use super::log::Lines;

/// Makes the libraries ready and sends what they say to our log. Cheap to call again.
pub fn init() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        if ffmpeg_next::init().is_err() {
            tracing::warn!("FFmpeg's libraries did not initialise.");
        }
        install_log();
    });
}

/// Whether reading waits for the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reading {
    /// `EAGAIN` when there is nothing: a device that hangs cannot hang us.
    NonBlocking,
    /// Waits; looks at the token only where the demuxer does.
    #[cfg_attr(not(test), expect(dead_code, reason = "for inputs that are not devices"))]
    Blocking,
}

/// Opens `url` by the demuxer called `format`, without probing: devices say all in their header.
///
/// `stop` ends an open or a read that waits. Options that the demuxer does not know are an error, since a
/// misspelt one would be silently without effect.
pub(super) fn open_input(
    format: &'static str,
    url: &str,
    options: &[(&str, String)],
    reading: Reading,
    stop: CancellationToken,
) -> Result<Input, AvError> {
    init();
    let demuxer = find_demuxer(format).ok_or(AvError::NoInput(format))?;
    let doing = "opening the device";
    let url = CString::new(url).map_err(|_| AvError::Refused {
        doing,
        reason: "the name holds a zero byte".into(),
    })?;
    let mut dictionary = Dictionary::new();
    for (key, value) in options {
        dictionary.set(key, value);
    }
    let interrupt = interrupt::new(Box::new(move || stop.is_cancelled()));
    // SAFETY: takes no arguments; null is checked below.
    let mut context = unsafe { ffi::avformat_alloc_context() };
    if context.is_null() {
        return Err(AvError::from_av(doing, Error::Other { errno: ffi::ENOMEM }));
    }
    // SAFETY: `context` was allocated above and nobody else has it.
    let fields = unsafe { &mut *context };
    fields.interrupt_callback = interrupt.interrupt;
    if reading == Reading::NonBlocking {
        fields.flags |= ffi::AVFMT_FLAG_NONBLOCK;
    }
    // SAFETY: disowned here and owned again right after the call, which is the only user.
    let mut left = unsafe { dictionary.disown() };
    // SAFETY: all pointers are valid for the call; on failure the call frees `context` and nulls it.
    let status = unsafe { ffi::avformat_open_input(&raw mut context, url.as_ptr(), demuxer, &raw mut left) };
    // SAFETY: `left` holds what the call did not take, or null; it has no other owner.
    let left = unsafe { Dictionary::own(left) };
    if status < 0 {
        return Err(AvError::from_av(doing, Error::from(status)));
    }
    // SAFETY: an opened context; `Input` closes it before the guard frees the callback's closure.
    let input = unsafe { Input::wrap_with_interrupt(context, interrupt.guard) };
    match left.iter().next() {
        Some((key, _)) => Err(AvError::Refused {
            doing,
            reason: format!("the {format} input of this FFmpeg does not know the option {key}"),
        }),
        None => Ok(input),
    }
}

/// The demuxer or input device of this name, or null's `None`. The libraries own it for ever.
///
/// Mutable or not differs between versions of the libraries; a mutable pointer passes for both.
fn find_demuxer(name: &str) -> Option<*mut ffi::AVInputFormat> {
    let name = CString::new(name).ok()?;
    // SAFETY: a zero-terminated string that outlives the call; the result is static or null.
    let found = unsafe { ffi::av_find_input_format(name.as_ptr()) } as *mut ffi::AVInputFormat;
    (!found.is_null()).then_some(found)
}

/// A device as `avdevice_list_input_sources` names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ListedSource {
    /// What the demuxer takes as its address.
    pub(super) name: String,
    /// What a person reads.
    pub(super) description: String,
    /// Whether the device gives pictures; true where the libraries do not tell.
    pub(super) video: bool,
}

/// The devices that an input device of the libraries can list (`dshow`, `avfoundation`, `v4l2` ...).
pub(super) fn list_sources(format: &'static str) -> Result<Vec<ListedSource>, AvError> {
    init();
    let doing = "listing devices";
    let demuxer = find_demuxer(format).ok_or(AvError::NoInput(format))?;
    let mut list: *mut ffi::AVDeviceInfoList = ptr::null_mut();
    // SAFETY: `demuxer` is valid; a null name and null options are allowed; the list is freed below.
    let count =
        unsafe { ffi::avdevice_list_input_sources(demuxer, ptr::null(), ptr::null_mut(), &raw mut list) };
    if count < 0 {
        return Err(AvError::from_av(doing, Error::from(count)));
    }
    let mut sources = Vec::new();
    for i in 0..count {
        // SAFETY: the call above answered `count` entries, each a valid pointer until the list is freed.
        let info = unsafe { &**(*list).devices.offset(i as isize) };
        sources.push(ListedSource {
            name: text(info.device_name),
            description: text(info.device_description),
            video: gives_video(info),
        });
    }
    // SAFETY: made by the call above and freed once.
    unsafe { ffi::avdevice_free_list_devices(&raw mut list) };
    Ok(sources)
}

/// V4L2 devices are listed without the libraries, whose version 4 has no kinds of media.
#[cfg(target_os = "linux")]
fn gives_video(_: &ffi::AVDeviceInfo) -> bool {
    true
}

/// Looks for video among the kinds of media a listed device has (dshow lists microphones too).
#[cfg(not(target_os = "linux"))]
fn gives_video(info: &ffi::AVDeviceInfo) -> bool {
    if info.media_types.is_null() || info.nb_media_types <= 0 {
        return true;
    }
    let count = info.nb_media_types as usize;
    // SAFETY: the libraries say that the array has this many entries.
    let kinds = unsafe { std::slice::from_raw_parts(info.media_types, count) };
    kinds.contains(&ffi::AVMediaType::AVMEDIA_TYPE_VIDEO)
}

/// A C string of the libraries as ours; empty for null.
fn text(s: *const c_char) -> String {
    if s.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the libraries terminate their strings.
    let s = unsafe { CStr::from_ptr(s) };
    s.to_string_lossy().into_owned()
}

/// Gives a decoder that is not open yet its parameter sets.
pub(super) fn set_extradata(context: &mut codec::Context, data: &[u8]) -> Result<(), AvError> {
    let padding = ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;
    let doing = "preparing a decoder";
    let size = c_int::try_from(data.len()).map_err(|_| AvError::Damaged(doing))?;
    // SAFETY: plain allocation; null is checked below.
    let buffer = unsafe { ffi::av_mallocz(data.len() + padding) }.cast::<u8>();
    if buffer.is_null() {
        return Err(AvError::from_av(doing, Error::Other { errno: ffi::ENOMEM }));
    }
    // SAFETY: `buffer` has room for `data` and the two do not overlap.
    unsafe { ptr::copy_nonoverlapping(data.as_ptr(), buffer, data.len()) };
    // SAFETY: the context is ours alone, and not open.
    let fields = unsafe { &mut *context.as_mut_ptr() };
    debug_assert!(fields.extradata.is_null());
    fields.extradata = buffer; // the context frees it
    fields.extradata_size = size;
    Ok(())
}

/// The parameter sets an opened encoder keeps outside of its stream; empty for most.
pub(super) fn extradata(context: &codec::Context) -> Vec<u8> {
    // SAFETY: a live context; only read.
    let fields = unsafe { &*context.as_ptr() };
    let size = usize::try_from(fields.extradata_size).unwrap_or(0);
    if fields.extradata.is_null() || size == 0 {
        return Vec::new();
    }
    // SAFETY: the libraries say that this many bytes are there.
    unsafe { std::slice::from_raw_parts(fields.extradata, size) }.to_vec()
}

/// Sets rate control beyond what ffmpeg-next wraps: the size of the decoder's buffer, in bits, and the
/// range of luma that the stream's header tells.
pub(super) fn set_rate_buffer(context: &mut codec::Context, bits: usize, full_range: bool) {
    // SAFETY: the context is ours alone, and not open.
    let fields = unsafe { &mut *context.as_mut_ptr() };
    fields.rc_buffer_size = c_int::try_from(bits).unwrap_or(c_int::MAX);
    fields.color_range = match full_range {
        true => ffi::AVColorRange::AVCOL_RANGE_JPEG,
        false => ffi::AVColorRange::AVCOL_RANGE_MPEG,
    };
}

/// Sets the quantiser that a picture is encoded with where the encoder works at constant quality, 1 (best)
/// to 31.
pub(super) fn set_quantiser(frame: &mut Video, quantiser: i32) {
    // SAFETY: a live frame that is ours alone.
    let fields = unsafe { &mut *frame.as_mut_ptr() };
    fields.quality = quantiser * ffi::FF_QP2LAMBDA as c_int;
}

/// The libraries' scaler, which may move between threads.
pub(super) struct Scaling(pub(super) scaling::Context);

// SAFETY: the context has no ties to the thread it was made on; it is used through `&mut` only.
unsafe impl Send for Scaling {}

/// Makes sure that nobody else sees what is drawn on the picture; copies only if somebody holds it.
pub(super) fn make_writable(frame: &mut Video) -> Result<(), AvError> {
    // SAFETY: a live frame with buffers.
    let status = unsafe { ffi::av_frame_make_writable(frame.as_mut_ptr()) };
    match status {
        0.. => Ok(()),
        e => Err(AvError::from_av("copying a picture", Error::from(e))),
    }
}

/// A second handle on the same picture, without copying samples.
pub(super) fn share(frame: &Video) -> Result<Video, AvError> {
    let mut copy = Video::empty();
    // SAFETY: the target is empty, the source is a live frame with reference-counted buffers.
    let status = unsafe { ffi::av_frame_ref(copy.as_mut_ptr(), frame.as_ptr()) };
    match status {
        0.. => Ok(copy),
        e => Err(AvError::from_av("sharing a picture", Error::from(e))),
    }
}

/// Whether a call of the libraries with no picture behind it ends with "try again".
pub(super) fn is_again(e: Error) -> bool {
    e == Error::Other { errno: ffi::EAGAIN }
}

// ---- the log ----

/// Judges all that the libraries say, from all of their threads.
static LINES: Mutex<Option<Lines>> = Mutex::new(None);

thread_local! {
    /// A line of this thread that has not ended yet, and the libraries' note whether it needs a prefix.
    static PARTIAL: RefCell<(String, c_int)> = const { RefCell::new((String::new(), 1)) };
}

fn install_log() {
    // SAFETY: only sets a number.
    unsafe { ffi::av_log_set_level(ffi::AV_LOG_INFO) };
    // SAFETY: the callback is thread-safe, as the libraries ask for, and never unwinds.
    unsafe { ffi::av_log_set_callback(Some(on_log)) };
}

/// `Args` is the platform's `va_list` as bindgen sees it: a pointer on x86-64, a struct or a plain pointer
/// elsewhere. It is inferred from `av_log_set_callback`, so that no platform needs its own code.
unsafe extern "C" fn on_log<Args>(class: *mut c_void, level: c_int, format: *const c_char, args: Args) {
    type FormatLine<Args> = unsafe extern "C" fn(
        *mut c_void,
        c_int,
        *const c_char,
        Args,
        *mut c_char,
        c_int,
        *mut c_int,
    ) -> c_int;
    let level = level & 0xff; // the bytes above hold a colour
    if level > ffi::AV_LOG_INFO {
        return;
    }
    let raw = ffi::av_log_format_line2 as *const ();
    // SAFETY: the same function by its real type: `Args` is what both it and our callback are declared with.
    let format_line: FormatLine<Args> = unsafe { transmute(raw) };
    let mut buffer = [0_u8; 512];
    PARTIAL.with(|partial| {
        let Ok(mut partial) = partial.try_borrow_mut() else {
            return;
        };
        let (line, prefix) = &mut *partial;
        let room = buffer.len() as c_int;
        let into = buffer.as_mut_ptr().cast();
        // SAFETY: the arguments come from the libraries unchanged; the buffer's true size is passed.
        unsafe { format_line(class, level, format, args, into, room, prefix) };
        let piece = CStr::from_bytes_until_nul(&buffer).unwrap_or_default();
        if line.len() < 4096 {
            line.push_str(&piece.to_string_lossy());
        }
        if line.ends_with('\n') || line.ends_with('\r') {
            say(level, line);
            line.clear();
        }
    });
}

fn say(level: c_int, line: &str) {
    let judged = match LINES.lock() {
        Ok(mut lines) => lines.get_or_insert_default().judge(level, line),
        Err(_) => None,
    };
    match judged {
        Some((Level::Warn, text)) => tracing::warn!(target: "libav", "{text}"),
        Some((Level::Debug, text)) => tracing::debug!(target: "libav", "{text}"),
        Some((Level::Trace, text)) => tracing::trace!(target: "libav", "{text}"),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_the_demuxer_does_not_know_is_an_error_that_names_it() {
        let options = [("vidoe_size", "320x240".to_owned())];
        let stop = CancellationToken::new();
        let Err(e) = open_input("lavfi", "testsrc2", &options, Reading::Blocking, stop) else {
            panic!("opened");
        };
        assert!(e.to_string().contains("vidoe_size"), "{e}");
    }

    #[test]
    fn a_device_that_is_not_there_is_told_by_the_systems_number() {
        let stop = CancellationToken::new();
        let Err(e) = open_input("v4l2", "/dev/no-such-node", &[], Reading::NonBlocking, stop) else {
            panic!("opened");
        };
        assert_eq!(e.errno(), Some(ffi::ENOENT), "{e}");
    }

    #[test]
    fn sources_are_listed_or_refused_but_never_crash() {
        // alsa always lists its null device; lavfi cannot list; dshow is not on this platform.
        assert!(list_sources("lavfi").is_err());
        #[cfg(target_os = "linux")]
        assert!(matches!(list_sources("dshow"), Err(AvError::NoInput("dshow"))));
        #[cfg(target_os = "linux")]
        assert!(list_sources("v4l2").is_ok());
    }

    #[test]
    fn the_log_callback_takes_lines_with_arguments() {
        init();
        let format = c"a line of %d parts by %s\n";
        for _ in 0..3 {
            // SAFETY: the arguments fit the format.
            unsafe {
                ffi::av_log(
                    ptr::null_mut(),
                    16,
                    format.as_ptr(),
                    2 as c_int,
                    c"louver".as_ptr(),
                )
            };
        }
        let mut lines = LINES.lock().unwrap();
        let lines = lines.as_mut().unwrap();
        // Said before, so judged as a repetition: the text arrived whole.
        assert!(lines.judge(16, "a line of 2 parts by louver").is_none());
    }
}
