//! Opens the input of `sidekey check --from-json`: JSON files, folders of JSON files, and standard
//! input. The input may be compressed with gzip.

use flate2::read::MultiGzDecoder;
use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

/// The endings of the names of JSON files. In a folder, `sidekey check` reads only files with these
/// endings.
const ENDS: [&str; 6] = [".json", ".json.gz", ".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz"];

/// Returns the JSON files at `path`: the file itself, or for a folder, the JSON files in this
/// folder and in its subfolders, sorted by name.
pub(super) fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    add_files(path, &mut files)?;
    match files.is_empty() {
        true => Err(io::Error::other(format!(
            "the folder contains no JSON file; the names of JSON files end with {}",
            ENDS.join(", ")
        ))),
        false => Ok(files),
    }
}

fn add_files(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries: io::Result<Vec<fs::DirEntry>> = fs::read_dir(folder)?.collect();
    let mut entries = entries?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // A symbolic link to a folder is not followed, because it may lead back to this folder.
        if entry.file_type()?.is_dir() {
            add_files(&path, files)?;
        } else if is_json_name(&entry.file_name().to_string_lossy()) && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

fn is_json_name(name: &str) -> bool {
    ENDS.iter().any(|end| name.ends_with(end))
}

/// Opens a file, or standard input if the path is `-`. If the content is compressed with gzip, the
/// returned stream decompresses it.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    match path.as_os_str() == "-" {
        true => decoded(io::stdin()),
        false => decoded(File::open(path)?),
    }
}

/// Returns the input as a stream of plain text. Decompresses gzip, and skips the byte order mark at
/// the beginning of a UTF-8 file.
fn decoded(mut stream: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut head = Vec::new();
    (&mut stream).take(3).read_to_end(&mut head)?;
    match &head[..] {
        // A compressed export may consist of several gzip streams one after another.
        [0x1f, 0x8b, ..] => Ok(Box::new(MultiGzDecoder::new(Cursor::new(head).chain(stream)))),
        [0xef, 0xbb, 0xbf] => Ok(Box::new(stream)),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            Err(io::Error::other("the file has the encoding UTF-16; convert the file to UTF-8"))
        }
        _ => Ok(Box::new(Cursor::new(head).chain(stream))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).expect("writing to a vector in memory must succeed");
        encoder.finish().expect("writing to a vector in memory must succeed")
    }

    #[track_caller]
    fn check(bytes: Vec<u8>, expected: Result<&str, &str>) {
        let mut text = String::new();
        let read =
            decoded(Cursor::new(bytes)).and_then(|mut stream| stream.read_to_string(&mut text));
        let found = read.map(|_| text).map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(|error| &**error), expected);
    }

    #[test]
    fn compressed_and_plain_text_is_read() {
        check(b"{}".to_vec(), Ok("{}"));
        check(Vec::new(), Ok(""));
        check(b"\xef\xbb\xbf{}".to_vec(), Ok("{}"));
        check(gzip("{}"), Ok("{}"));
        check([gzip("{\"a\""), gzip(":1}")].concat(), Ok("{\"a\":1}"));
        check(
            b"\xff\xfe{\0".to_vec(),
            Err("the file has the encoding UTF-16; convert the file to UTF-8"),
        );
    }

    #[test]
    fn truncated_compressed_file_is_an_error() {
        let bytes = gzip(r#"{"a":"b","c":"d","e":"f"}"#);
        assert!(
            decoded(Cursor::new(bytes[..20].to_vec()))
                .expect("the header of the gzip file must be complete")
                .read_to_end(&mut Vec::new())
                .is_err()
        );
    }

    #[test]
    fn names_of_json_files_are_recognised() {
        for (name, expected) in [
            ("a.json", true),
            ("a.json.gz", true),
            ("a.jsonl", true),
            ("a.md5", false),
            ("a.ion.gz", false),
        ] {
            assert_eq!(is_json_name(name), expected, "{name}");
        }
    }
}
