//! What the published crates show to others, under review: `api/` holds every public item of each as a line, and the tests compare.
//!
//! ```text
//! cargo nextest run -p restic-manager-surface
//! RM_BLESS=1 cargo nextest run -p restic-manager-surface     # writes api/ anew; read the difference before it is committed
//! ```
//!
//! The lines come from rustdoc's JSON. It is unstable, so the release of `public-api` is the one that reads the form of this compiler; the two
//! are raised together.
