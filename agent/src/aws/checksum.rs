//! What the store itself says of an object's bytes, and whether what arrived are those.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use aws_sdk_s3::{
    operation::head_object::HeadObjectOutput,
    types::{ChecksumType, ServerSideEncryption},
};
use aws_smithy_checksums::ChecksumAlgorithm;
use md5::{Digest as _, Md5};

/// The checksum that a store gives of an object's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum(StoredChecksum);

#[derive(Clone, Debug, PartialEq, Eq)]
enum StoredChecksum {
    /// A checksum of the whole object, in base64.
    Whole(ChecksumAlgorithm, String),
    /// An entity tag that looks like the MD5 of the content, in hexadecimal digits.
    Tag(String),
    /// Nothing that could be computed here.
    Nothing,
}

/// Whether bytes are the store's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// They are.
    TheStores,
    /// They are not: something was lost or altered on the way, or on our disk.
    Altered,
    /// The store says nothing by which that could be told.
    Unknown,
}

impl Checksum {
    /// What the answer to a `HeadObject` says.
    pub(super) fn of(answer: &HeadObjectOutput) -> Checksum {
        let whole = answer.checksum_type().is_none_or(|kind| *kind == ChecksumType::FullObject);
        let told = [
            (ChecksumAlgorithm::Crc64Nvme, answer.checksum_crc64_nvme()),
            (ChecksumAlgorithm::Crc32c, answer.checksum_crc32_c()),
            (ChecksumAlgorithm::Crc32, answer.checksum_crc32()),
            (ChecksumAlgorithm::Sha256, answer.checksum_sha256()),
            (ChecksumAlgorithm::Sha1, answer.checksum_sha1()),
        ];
        // That of a multipart upload is often one of its parts' checksums, with their number behind a dash.
        let told =
            told.into_iter().find_map(|(algorithm, value)| Some((algorithm, value.filter(|v| fits(algorithm, v))?)));
        if let (true, Some((algorithm, value))) = (whole, told) {
            return Checksum(StoredChecksum::Whole(algorithm, value.to_owned()));
        }
        // With a key of KMS or the customer's own the tag is no MD5.
        let plain = answer.server_side_encryption().is_none_or(|with| *with == ServerSideEncryption::Aes256)
            && answer.sse_customer_algorithm().is_none();
        let tag = answer.e_tag().unwrap_or_default().trim_matches('"').to_ascii_lowercase();
        if plain && tag.len() == 32 && tag.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            Checksum(StoredChecksum::Tag(tag))
        } else {
            Checksum(StoredChecksum::Nothing)
        }
    }

    /// Holds the file at `path` against it. Blocking, with bounded memory.
    ///
    /// # Errors
    /// What the file system says.
    pub fn compare(&self, path: &Path) -> io::Result<Bytes> {
        match &self.0 {
            StoredChecksum::Nothing => Ok(Bytes::Unknown),
            StoredChecksum::Whole(algorithm, told) => {
                let mut sum = algorithm.into_impl();
                read(path, |piece| sum.update(piece))?;
                let same = sum.header_value().to_str().is_ok_and(|value| value == told);
                Ok(if same { Bytes::TheStores } else { Bytes::Altered })
            }
            StoredChecksum::Tag(told) => {
                let mut sum = Md5::new();
                read(path, |piece| sum.update(piece))?;
                let value = hex::encode(sum.finalize());
                // Other stores than AWS make such tags of something else, so that a difference says nothing.
                Ok(if value == *told { Bytes::TheStores } else { Bytes::Unknown })
            }
        }
    }
}

/// Whether a value can be one of this algorithm, in base64.
fn fits(algorithm: ChecksumAlgorithm, value: &str) -> bool {
    let bytes = aws_smithy_checksums::Checksum::size(algorithm.into_impl().as_ref());
    value.len() as u64 == 4 * bytes.div_ceil(3) && !value.contains('-')
}

/// The SHA-256 of the file at `path`, in hexadecimal digits. Blocking, with bounded memory.
///
/// # Errors
/// What the file system says.
pub fn sha256(path: &Path) -> io::Result<String> {
    let mut sum = ChecksumAlgorithm::Sha256.into_impl();
    read(path, |piece| sum.update(piece))?;
    Ok(hex::encode(aws_smithy_checksums::Checksum::finalize(sum)))
}

fn read(path: &Path, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; 1 << 18];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            read => take(&piece[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(answer: HeadObjectOutput, content: &str) -> Bytes {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), content).expect("written");
        Checksum::of(&answer).compare(file.path()).expect("readable")
    }

    #[test]
    fn bytes_are_held_against_what_the_store_says_of_the_whole_object() {
        let head = HeadObjectOutput::builder;
        let md5 = "\"5d41402abc4b2a76b9719d911017c592\"";
        for (what, answer, hello, other) in [
            ("CRC-32", head().checksum_crc32("NhCmhg=="), Bytes::TheStores, Bytes::Altered),
            ("CRC-64", head().checksum_crc64_nvme("M3eFcAZSQlc="), Bytes::TheStores, Bytes::Altered),
            ("MD5 as tag", head().e_tag(md5), Bytes::TheStores, Bytes::Unknown),
            (
                "tag under KMS",
                head().e_tag(md5).server_side_encryption(ServerSideEncryption::AwsKms),
                Bytes::Unknown,
                Bytes::Unknown,
            ),
            ("tag of parts", head().e_tag("\"5d41402abc4b2a76b9719d911017c592-3\""), Bytes::Unknown, Bytes::Unknown),
            (
                "checksum of parts",
                head().checksum_crc32("NhCmhg==").checksum_type(ChecksumType::Composite),
                Bytes::Unknown,
                Bytes::Unknown,
            ),
            ("checksum of parts by its dash", head().checksum_crc32("NhCmhg==-2"), Bytes::Unknown, Bytes::Unknown),
            ("CRC-32 that says it is another", head().checksum_crc64_nvme("NhCmhg=="), Bytes::Unknown, Bytes::Unknown),
            ("nothing", head(), Bytes::Unknown, Bytes::Unknown),
        ] {
            assert_eq!(compared(answer.clone().build(), "hello"), hello, "{what}");
            assert_eq!(compared(answer.build(), "hellp"), other, "{what}, altered");
        }
    }
}
