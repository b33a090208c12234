//! The raw calls into FFmpeg's libraries: the only unsafe code of the program beside `base::locked`.
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
use std::io;
use std::mem::transmute;
use std::ops::Range;
use std::ptr;
use std::sync::Mutex;
use std::sync::OnceLock;

use ffmpeg_next::Dictionary;
use ffmpeg_next::Error;
use ffmpeg_next::codec;
use ffmpeg_next::ffi;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::frame::Video;
use ffmpeg_next::software::scaling;
use ffmpeg_next::util::interrupt;
#[cfg(target_os = "linux")]
use nix::sys::mman::MmapAdvise;
#[cfg(target_os = "linux")]
use nix::sys::mman::madvise;
use tokio_util::sync::CancellationToken;

use super::AvError;
use super::device::Coding;
use super::log::Level;
use super::log::Lines;
use super::options::Opening;

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

/// Tells the kernel to forget that these pages are in our memory; they come back from their file when used.
/// Only for mappings of files that were never written to: a changed page would lose its changes.
#[cfg(target_os = "linux")]
pub(super) fn forget_pages(addresses: Range<usize>) -> io::Result<()> {
    let Some(start) = ptr::NonNull::new(ptr::with_exposed_provenance_mut(addresses.start)) else {
        return Ok(());
    };
    // SAFETY: the caller has seen that the pages are those of a file, read-only and unchanged, so that the next
    // access finds the same bytes.
    unsafe { madvise(start, addresses.len(), MmapAdvise::MADV_DONTNEED) }.map_err(io::Error::from)
}

/// Only Linux tells which pages are unchanged.
#[cfg(not(target_os = "linux"))]
pub(super) fn forget_pages(_: Range<usize>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Has all threads allocate from one heap.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn share_one_heap() {
    // SAFETY: sets a number inside the allocator; both values are of the kind that mallopt(3) documents. When it
    // is refused, nothing has changed.
    let _as_before = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Only the GNU library has several.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn share_one_heap() {}

/// Opens a device without probing (devices say all in their header), for reading without waiting: a device
/// that hangs must not hang us.
///
/// `stop` ends an open that waits. Options that the input does not know are an error, since a misspelt one
/// would be silently without effect.
pub(super) fn open_input(opening: &Opening, stop: CancellationToken) -> Result<Input, AvError> {
    init();
    let demuxer = find_demuxer(opening.input).ok_or(AvError::NoInput(opening.input))?;
    let doing = "opening the device";
    let (input, left) = open(
        doing,
        &opening.address,
        demuxer,
        &opening.options,
        stop,
        |fields| {
            fields.flags |= ffi::AVFMT_FLAG_NONBLOCK;
            fields.video_codec_id = match opening.coding {
                Some(Coding::H264) => ffi::AVCodecID::AV_CODEC_ID_H264,
                Some(Coding::Jpeg) => ffi::AVCodecID::AV_CODEC_ID_MJPEG,
                _ => ffi::AVCodecID::AV_CODEC_ID_NONE,
            };
        },
    )?;
    match left.iter().next() {
        Some((key, _)) => Err(AvError::Refused {
            doing,
            reason: format!(
                "the {} input of this FFmpeg does not know the option {key}",
                opening.input
            ),
        }),
        None => Ok(input),
    }
}

/// Opens a file or a network source and reads as much of it as is needed to know its streams.
///
/// `stop` ends that, and any reading later. Options that no part of the libraries knows are ignored: which
/// there are depends on the protocol and the version.
pub(super) fn open_url(
    url: &str,
    options: &[(&'static str, String)],
    stop: CancellationToken,
) -> Result<Input, AvError> {
    init();
    let doing = "opening the source";
    let (mut input, _) = open(doing, url, ptr::null_mut(), options, stop, |_| {})?;
    // SAFETY: only asks where it is.
    let context = unsafe { input.as_mut_ptr() };
    // SAFETY: an opened context that is ours alone; null options are allowed.
    let status = unsafe { ffi::avformat_find_stream_info(context, ptr::null_mut()) };
    match status {
        0.. => Ok(input),
        e => Err(AvError::from_av(doing, Error::from(e))),
    }
}

/// Opens an input with a context that `prepare` has set up; also gives the options that nobody took. A null
/// `demuxer` lets the libraries find out.
fn open(
    doing: &'static str,
    address: &str,
    demuxer: *mut ffi::AVInputFormat,
    options: &[(&'static str, String)],
    stop: CancellationToken,
    prepare: impl FnOnce(&mut ffi::AVFormatContext),
) -> Result<(Input, Dictionary<'static>), AvError> {
    let address = CString::new(address).map_err(|_| AvError::Refused {
        doing,
        reason: "its name holds a zero byte".into(),
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
    prepare(fields);
    // SAFETY: disowned here and owned again right after the call, which is the only user.
    let mut left = unsafe { dictionary.disown() };
    // SAFETY: all pointers are valid for the call; on failure the call frees `context` and nulls it.
    let status =
        unsafe { ffi::avformat_open_input(&raw mut context, address.as_ptr(), demuxer, &raw mut left) };
    // SAFETY: `left` holds what the call did not take, or null; it has no other owner.
    let left = unsafe { Dictionary::own(left) };
    if status < 0 {
        return Err(AvError::from_av(doing, Error::from(status)));
    }
    // SAFETY: an opened context; `Input` closes it before the guard frees the callback's closure.
    let input = unsafe { Input::wrap_with_interrupt(context, interrupt.guard) };
    Ok((input, left))
}

/// Samples per second (0 for video) and the parameter sets outside of the stream.
pub(super) fn coding_details(parameters: &codec::Parameters) -> (u32, Vec<u8>) {
    // SAFETY: only asks where they are.
    let raw = unsafe { parameters.as_ptr() };
    // SAFETY: live parameters; only read.
    let fields = unsafe { &*raw };
    let rate = u32::try_from(fields.sample_rate).unwrap_or(0);
    let size = usize::try_from(fields.extradata_size).unwrap_or(0);
    if fields.extradata.is_null() || size == 0 {
        return (rate, Vec::new());
    }
    // SAFETY: the libraries say that this many bytes are there.
    (
        rate,
        unsafe { std::slice::from_raw_parts(fields.extradata, size) }.to_vec(),
    )
}

/// Width and height of a stream's pictures.
pub(super) fn picture_size(parameters: &codec::Parameters) -> (u32, u32) {
    // SAFETY: only asks where they are.
    let raw = unsafe { parameters.as_ptr() };
    // SAFETY: live parameters; only read.
    let fields = unsafe { &*raw };
    let side = |n: c_int| u32::try_from(n).unwrap_or(0);
    (side(fields.width), side(fields.height))
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

/// A device as `avdevice_list_input_sources` names it. (Linux asks V4L2 itself.)
#[cfg(any(test, not(target_os = "linux")))]
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
#[cfg(any(test, not(target_os = "linux")))]
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
    let sources = devices_of(list);
    // SAFETY: made by the call above and freed once.
    unsafe { ffi::avdevice_free_list_devices(&raw mut list) };
    Ok(sources)
}

/// The entries of a list that the libraries made, copied.
#[cfg(any(test, not(target_os = "linux")))]
fn devices_of(list: *const ffi::AVDeviceInfoList) -> Vec<ListedSource> {
    // SAFETY: made by the libraries, alive until our caller frees it; or null.
    let Some(list) = (unsafe { list.as_ref() }) else {
        return Vec::new();
    };
    let count = usize::try_from(list.nb_devices).unwrap_or(0);
    if list.devices.is_null() || count == 0 {
        return Vec::new();
    }
    // SAFETY: the libraries say that the array has this many entries.
    let devices = unsafe { std::slice::from_raw_parts(list.devices, count) };
    let read = |device: &*mut ffi::AVDeviceInfo| {
        // SAFETY: an entry of the list, alive as long as it; or null.
        let info = unsafe { device.as_ref() }?;
        Some(ListedSource {
            name: text(info.device_name),
            description: text(info.device_description),
            video: gives_video(info),
        })
    };
    devices.iter().filter_map(read).collect()
}

/// V4L2 devices are listed without the libraries, whose version 4 has no kinds of media.
#[cfg(all(test, target_os = "linux"))]
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

/// All codecs of the libraries, decoders and encoders apart.
pub(super) fn codecs() -> Vec<ffmpeg_next::Codec> {
    let mut state = ptr::null_mut();
    let next = || {
        // SAFETY: `state` belongs to this walk alone; the entries are static.
        let codec = unsafe { ffi::av_codec_iterate(&raw mut state) };
        // SAFETY: a static entry, checked for null.
        (!codec.is_null()).then(|| unsafe { ffmpeg_next::Codec::wrap(codec) })
    };
    std::iter::from_fn(next).collect()
}

/// Names and descriptions of all containers and devices that the libraries read.
pub(super) fn demuxers() -> Vec<(String, String)> {
    let mut state = ptr::null_mut();
    let next = || {
        // SAFETY: `state` belongs to this walk alone; the entries are static.
        let format = unsafe { ffi::av_demuxer_iterate(&raw mut state) };
        // SAFETY: a static entry or null.
        let format = unsafe { format.as_ref() }?;
        Some((text(format.name), text(format.long_name)))
    };
    std::iter::from_fn(next).collect()
}

/// Names and descriptions of all containers and devices that the libraries write.
pub(super) fn muxers() -> Vec<(String, String)> {
    let mut state = ptr::null_mut();
    let next = || {
        // SAFETY: `state` belongs to this walk alone; the entries are static.
        let format = unsafe { ffi::av_muxer_iterate(&raw mut state) };
        // SAFETY: a static entry or null.
        let format = unsafe { format.as_ref() }?;
        Some((text(format.name), text(format.long_name)))
    };
    std::iter::from_fn(next).collect()
}

/// Names of all protocols that the libraries read from (or write to).
pub(super) fn protocols(output: bool) -> Vec<String> {
    let mut state = ptr::null_mut();
    let next = || {
        // SAFETY: `state` belongs to this walk alone; the names are static.
        let name = unsafe { ffi::avio_enum_protocols(&raw mut state, c_int::from(output)) };
        (!name.is_null()).then(|| text(name))
    };
    std::iter::from_fn(next).collect()
}

/// Names and descriptions of the devices that the libraries take video from.
pub(super) fn video_devices() -> Vec<(String, String)> {
    init();
    let mut last = ptr::null_mut();
    let next = || {
        // SAFETY: starts with null, then takes its own last answer; the entries are static.
        last = unsafe { ffi::av_input_video_device_next(last) } as *mut ffi::AVInputFormat;
        // SAFETY: a static entry or null.
        let format = unsafe { last.as_ref() }?;
        Some((text(format.name), text(format.long_name)))
    };
    std::iter::from_fn(next).collect()
}

/// The plain fields of a context.
fn fields_of(context: &mut codec::Context) -> &mut ffi::AVCodecContext {
    // SAFETY: only asks where it is.
    let raw = unsafe { context.as_mut_ptr() };
    // SAFETY: a live context that is ours alone while we hold `&mut`.
    unsafe { &mut *raw }
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
    let fields = fields_of(context);
    debug_assert!(fields.extradata.is_null());
    fields.extradata = buffer; // the context frees it
    fields.extradata_size = size;
    Ok(())
}

/// Tells a decoder that is not open yet what its pictures look like.
pub(super) fn set_picture(context: &mut codec::Context, format: Pixel, width: u32, height: u32) {
    let fields = fields_of(context);
    fields.width = c_int::try_from(width).unwrap_or(0);
    fields.height = c_int::try_from(height).unwrap_or(0);
    fields.pix_fmt = format.into();
}

/// The parameter sets an opened encoder keeps outside of its stream; empty for most.
pub(super) fn extradata(context: &codec::Context) -> Vec<u8> {
    // SAFETY: only asks where it is.
    let raw = unsafe { context.as_ptr() };
    // SAFETY: a live context; only read.
    let fields = unsafe { &*raw };
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
    let fields = fields_of(context);
    fields.rc_buffer_size = c_int::try_from(bits).unwrap_or(c_int::MAX);
    fields.color_range = match full_range {
        true => ffi::AVColorRange::AVCOL_RANGE_JPEG,
        false => ffi::AVColorRange::AVCOL_RANGE_MPEG,
    };
}

/// Sets the quantiser that a picture is encoded with where the encoder works at constant quality, 1 (best)
/// to 31.
pub(super) fn set_quantiser(frame: &mut Video, quantiser: i32) {
    // SAFETY: only asks where it is.
    let raw = unsafe { frame.as_mut_ptr() };
    // SAFETY: a live frame that is ours alone while we hold `&mut`.
    let fields = unsafe { &mut *raw };
    fields.quality = quantiser * ffi::FF_QP2LAMBDA as c_int;
}

/// The libraries' scaler, which may move between threads.
pub(super) struct Scaling(pub(super) scaling::Context);

// SAFETY: the context has no ties to the thread it was made on; it is used through `&mut` only.
unsafe impl Send for Scaling {}

/// Makes sure that nobody else sees what is drawn on the picture; copies only if somebody holds it.
pub(super) fn make_writable(frame: &mut Video) -> Result<(), AvError> {
    // SAFETY: only asks where it is.
    let raw = unsafe { frame.as_mut_ptr() };
    // SAFETY: a live frame that is ours alone while we hold `&mut`.
    let status = unsafe { ffi::av_frame_make_writable(raw) };
    match status {
        0.. => Ok(()),
        e => Err(AvError::from_av("copying a picture", Error::from(e))),
    }
}

/// A second handle on the same picture, without copying samples.
pub(super) fn share(frame: &Video) -> Result<Video, AvError> {
    let mut copy = Video::empty();
    // SAFETY: only asks where it is.
    let to = unsafe { copy.as_mut_ptr() };
    // SAFETY: only asks where it is.
    let from = unsafe { frame.as_ptr() };
    // SAFETY: the target is empty, the source is a live frame with reference-counted buffers.
    let status = unsafe { ffi::av_frame_ref(to, from) };
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

    fn opening(input: &'static str, address: &str, key: &'static str, value: &str) -> Opening {
        Opening {
            input,
            address: address.into(),
            options: vec![(key, value.into())],
            coding: None,
        }
    }

    #[test]
    fn an_option_the_demuxer_does_not_know_is_an_error_that_names_it() {
        let wrong = opening("lavfi", "testsrc2", "vidoe_size", "320x240");
        let Err(e) = open_input(&wrong, CancellationToken::new()) else {
            panic!("opened");
        };
        assert!(e.to_string().contains("vidoe_size"), "{e}");
    }

    #[test]
    fn a_device_that_is_not_there_is_told_by_the_systems_number() {
        let absent = opening("v4l2", "/dev/no-such-node", "framerate", "30");
        let Err(e) = open_input(&absent, CancellationToken::new()) else {
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
