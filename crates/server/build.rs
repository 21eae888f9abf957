//! Makes sure that what the dashboard sends to browsers and is not ours is there, and in the version that is meant.
//!
//! `src/web/pages/assets.rs` includes the files. They come from npm by `package-lock.json` and are part of the published
//! crate, so that only a build from a checkout has to fetch them.

use std::path::Path;
use std::{env, fs};

const PACKAGE: &str = "htmx.org";
const FILES: [&str; 2] = ["dist/htmx.min.js", "dist/ext/hx-sse.min.js"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=package.json");
    println!("cargo::rerun-if-changed=node_modules/{PACKAGE}");
    // Without the dashboard nothing is embedded.
    if env::var_os("CARGO_FEATURE_WEB").is_none() {
        return;
    }
    let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".to_owned());
    if let Err(problem) = check(Path::new(&folder)) {
        println!("cargo::error={problem}; fetch them with");
        println!("cargo::error=    npm ci --prefix {folder}");
        println!(
            "cargo::error=(npm comes with Node.js; or build without the dashboard: --no-default-features)"
        );
    }
}

fn check(folder: &Path) -> Result<(), String> {
    let package = folder.join("node_modules").join(PACKAGE);
    for file in FILES {
        if !package.join(file).is_file() {
            return Err(format!(
                "the dashboard's files are not there: {} is missing",
                package.join(file).display()
            ));
        }
    }
    let wanted = text_after(&folder.join("package.json"), &format!("\"{PACKAGE}\":"))?;
    let there = text_after(&package.join("package.json"), "\"version\":")?;
    if wanted != there {
        return Err(format!("the dashboard needs {PACKAGE} {wanted}, and {there} is there"));
    }
    Ok(())
}

/// The quoted text after a key. Both files are npm's own, so that this little is enough to read them.
fn text_after(path: &Path, key: &str) -> Result<String, String> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let value = text.split_once(key).and_then(|(_, rest)| rest.split('"').nth(1));
    value.map(str::to_owned).ok_or_else(|| format!("{} has no {key}", path.display()))
}
