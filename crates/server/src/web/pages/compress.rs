//! Smaller on the way: pages and assets as gzip or brotli, for browsers that take them.

use std::io::Write as _;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, VARY,
};
use http_body_util::BodyExt as _;
use warp::reply::Response;

/// Less than this is sent as it is: it fits into one packet anyway.
const WORTH_IT: u64 = 1200;

/// How an answer is made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Gzip,
}

/// How much time that may take.
#[derive(Debug, Clone, Copy)]
enum Effort {
    /// Each time anew, while somebody waits.
    Live,
    /// Once for the life of the process.
    Once,
}

impl Coding {
    /// The best that the browser says it takes.
    pub(super) fn wanted(headers: &HeaderMap) -> Option<Self> {
        let takes = |coding: &str| {
            let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
            lines.flat_map(|line| line.split(',')).any(|part| {
                let (name, weight) = part.split_once(';').unwrap_or((part, ""));
                let weight =
                    weight.trim().strip_prefix("q=").map_or(1.0, |q| q.trim().parse().unwrap_or(0.0));
                name.trim().eq_ignore_ascii_case(coding) && weight > 0.0
            })
        };
        if takes("br") { Some(Self::Brotli) } else { takes("gzip").then_some(Self::Gzip) }
    }

    /// What a page may be made smaller by.
    ///
    /// A page holds the token of its session beside words of its address. Whoever could make a browser ask for pages with words
    /// of their choice and saw how long the answers are could guess the token from that (BREACH). So what another site led a
    /// browser to is sent as it is.
    pub(super) fn of_page(headers: &HeaderMap) -> Option<Self> {
        let from_here = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
        headers.get("sec-fetch-site").is_none_or(from_here).then(|| Self::wanted(headers)).flatten()
    }

    /// The header that says how the body of an answer was made smaller.
    pub(super) fn mark(self, mut response: Response) -> Response {
        let name = match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        };
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        response
    }

    /// The header that tells caches what the answer depends on.
    pub(super) fn vary(response: &mut Response) {
        response.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
    }

    fn squeeze(self, bytes: &[u8], effort: Effort) -> Bytes {
        let mut small = Vec::with_capacity(bytes.len() / 4);
        // Writing to memory cannot fail.
        let _ = match self {
            Self::Gzip => {
                let level = match effort {
                    Effort::Live => 4,
                    Effort::Once => 9,
                };
                let mut writer = flate2::write::GzEncoder::new(&mut small, flate2::Compression::new(level));
                writer.write_all(bytes).and_then(|()| writer.try_finish())
            }
            Self::Brotli => {
                let quality = match effort {
                    Effort::Live => 3,
                    Effort::Once => 9,
                };
                let mut writer = brotli::CompressorWriter::new(&mut small, 1 << 16, quality, 20);
                writer.write_all(bytes)
            }
        };
        small.into()
    }
}

/// The same bytes, made smaller in each way.
pub(super) struct Squeezed {
    brotli: Bytes,
    gzip: Bytes,
}

impl Squeezed {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self {
            brotli: Coding::Brotli.squeeze(bytes, Effort::Once),
            gzip: Coding::Gzip.squeeze(bytes, Effort::Once),
        }
    }

    pub(super) fn by(&self, coding: Coding) -> Bytes {
        match coding {
            Coding::Brotli => self.brotli.clone(),
            Coding::Gzip => self.gzip.clone(),
        }
    }
}

/// Makes a page smaller. What comes piece by piece, is small, or was made smaller already stays as it is.
pub(super) async fn page(coding: Option<Coding>, mut response: Response) -> Response {
    let headers = response.headers();
    let is_html = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if !is_html || headers.contains_key(CONTENT_ENCODING) || length.is_none_or(|length| length < WORTH_IT) {
        return response;
    }
    Coding::vary(&mut response);
    let Some(coding) = coding else { return response };
    let (parts, body) = response.into_parts();
    let Ok(whole) = body.collect().await else {
        // A body of a known length lies in memory.
        return super::super::answer::Refusal::broken().into_response();
    };
    let small = coding.squeeze(&whole.to_bytes(), Effort::Live);
    let mut response = Response::from_parts(parts, small.clone().into());
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(small.len()));
    coding.mark(response)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn asking(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn what_the_browser_takes_is_used_and_nothing_else() {
        let wanted = |value| Coding::wanted(&asking(&[("accept-encoding", value)]));
        assert_eq!(wanted("gzip, deflate, br, zstd"), Some(Coding::Brotli));
        assert_eq!(wanted("gzip, deflate"), Some(Coding::Gzip));
        assert_eq!(wanted("br;q=0, GZIP;q=0.5"), Some(Coding::Gzip));
        assert_eq!(wanted("gzip;q=0"), None);
        assert_eq!(wanted("identity"), None);
        assert_eq!(Coding::wanted(&HeaderMap::new()), None);
    }

    #[test]
    fn what_another_site_asks_for_is_not_made_smaller() {
        let from = |site| Coding::of_page(&asking(&[("accept-encoding", "gzip"), ("sec-fetch-site", site)]));
        assert_eq!(from("cross-site"), None);
        assert_eq!(from("same-site"), None);
        assert_eq!(from("same-origin"), Some(Coding::Gzip));
        assert_eq!(from("none"), Some(Coding::Gzip));
    }

    #[test]
    fn what_was_made_smaller_can_be_read_again() {
        let text = "a row of a table, and another one. ".repeat(200);
        for effort in [Effort::Live, Effort::Once] {
            let mut read = String::new();
            let small = Coding::Gzip.squeeze(text.as_bytes(), effort);
            flate2::read::GzDecoder::new(&small[..]).read_to_string(&mut read).unwrap();
            assert_eq!((read == text, small.len() < text.len() / 10), (true, true));
            read.clear();
            let small = Coding::Brotli.squeeze(text.as_bytes(), effort);
            brotli::Decompressor::new(&small[..], 4096).read_to_string(&mut read).unwrap();
            assert_eq!((read == text, small.len() < text.len() / 10), (true, true));
        }
    }
}
